//! The trace of a job.

use std::collections::{HashMap, HashSet};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use danube_api::{Code, JobView, Problem};
use danube_joblog::{FoldKind, JobLogs};
use danube_model::Job;
use danube_pages::trace::{Attribute, Details, Event, Link, Span, TraceAsk, TracePage};
use danube_signals::JobSpans;
use danube_telemetry::trace::files::Stored;
use danube_telemetry::trace::proto::{self, KeyValue, ResourceSpans, SpanKind, StatusCode, Value};
use danube_telemetry::trace::{attribute, hex, number_of, shown, text_of};
use danube_worker::trace::context_of;

use super::frame::Visit;
use crate::app::{Shared, blocking};
use crate::auth::Caller;
use crate::http::answer::Refusal;
use crate::http::incoming::Id;
use crate::http::jobs::{find, unknown, with_log};

/// Plays and tasks whose place in the log is known: as many as have spans.
const FOLDS_MAX: usize = 10_000;

/// A program that doesn't say what it is called.
const UNKNOWN_SERVICE: &str = "unknown_service";

const NANOS_A_SECOND: f64 = 1e9;

/// The waterfall of a job, and one of its spans.
pub(super) async fn trace(
    State(app): State<Shared>,
    visit: Visit,
    Id(id): Id,
    query: Result<Query<TraceAsk>, QueryRejection>,
) -> Response {
    let page = match query {
        Ok(Query(ask)) => page(&app, &visit.caller, (&id, ask)).await,
        Err(error) => Err(Problem::new(Code::Malformed, error.body_text())),
    };
    // Thousands of rows take their time, which others needn't wait for.
    let shown = blocking(move || visit.show(&app, page)).await;
    shown.unwrap_or_else(|problem| Refusal(problem).into_response())
}

async fn page(
    app: &Shared,
    caller: &Caller,
    (id, ask): (&str, TraceAsk),
) -> Result<TracePage, Problem> {
    let job = with_log(app, find(app, caller, id).await?).await?;
    if job.log_deleted_at.is_some() {
        let view = JobView::brief(job);
        return Ok(TracePage::new(view, ask, None, |_| Details::default()));
    }
    let _turn = app.turns.log_reads.acquire().await;
    let (traces, logs) = (app.traces.clone(), app.logs.clone());
    let made = blocking(move || {
        let Some(stored) = traces.told_apart(job.id)? else {
            return Ok(None);
        };
        let mut spans = spans(&stored);
        place_tasks(&mut spans, &job, &logs);
        let all = stored.all();
        let ids: HashSet<String> = spans.iter().map(|it| it.id.clone()).collect();
        let view = JobView::brief(job);
        Ok(Some(TracePage::new(view, ask, Some(&spans), |of| {
            details(&all, &of.id, &ids)
        })))
    });
    let made = made.await?.map_err(|error| app.problem(&error))?;
    made.ok_or_else(|| unknown(id))
}

/// All spans, the server's own first.
fn spans(stored: &Stored) -> Vec<Span> {
    let mut spans = Vec::new();
    let own = of_all(&stored.own).map(|(_, it)| span(it, ""));
    spans.extend(own);
    let received = of_all(&stored.received).map(|(resource, it)| span(it, service(resource)));
    spans.extend(received);
    spans
}

fn of_all(all: &[ResourceSpans]) -> impl Iterator<Item = (&ResourceSpans, &proto::Span)> {
    all.iter().flat_map(|resource| {
        let scopes = resource.scope_spans.iter();
        scopes.flat_map(move |scope| scope.spans.iter().map(move |it| (resource, it)))
    })
}

fn service(of: &ResourceSpans) -> &str {
    let attributes = of.resource.as_ref().map_or(&[][..], |it| &it.attributes);
    let name = text_of(attributes, "service.name").filter(|it| !it.is_empty());
    name.unwrap_or(UNKNOWN_SERVICE)
}

fn span(it: &proto::Span, service: &str) -> Span {
    let is_own = service.is_empty();
    let offset = |key| match attribute(&it.attributes, key) {
        Some(Value::IntValue(at)) if is_own => u64::try_from(*at).ok(),
        _ => None,
    };
    let has_failed = it
        .status
        .as_ref()
        .is_some_and(|it| it.code() == StatusCode::Error);
    let is_open = attribute(&it.attributes, "danube.span.unfinished").is_some();
    let waited = number_of(&it.attributes, "danube.job.queue_wait_seconds");
    Span {
        id: hex(&it.span_id),
        parent: hex(&it.parent_span_id),
        name: it.name.clone(),
        start_nanos: it.start_time_unix_nano,
        end_nanos: it.end_time_unix_nano,
        service: service.to_owned(),
        has_failed,
        is_open: is_own && is_open,
        is_aftermath: is_own && it.name == "send_webhook",
        queue_nanos: waited.filter(|_| is_own).map_or(0, nanos),
        log: offset("danube.log.start").map(|from| (from, offset("danube.log.end"))),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is less than nothing is nothing, and what is too much is as much as there can be"
)]
fn nanos(seconds: f64) -> u64 {
    (seconds * NANOS_A_SECOND) as u64
}

/// Where plays and tasks stand in the log: that isn't in their spans, but in the log's index.
fn place_tasks(spans: &mut [Span], job: &Job, logs: &JobLogs) {
    if job.playbook.is_none() {
        return;
    }
    let name = job.id.to_string();
    let Ok(folds) = logs
        .reader(&name)
        .and_then(|mut reader| reader.folds(FOLDS_MAX))
    else {
        return;
    };
    let ids = JobSpans {
        job_id: &name,
        context: context_of(&job.traceparent),
    };
    let places: HashMap<String, (u64, Option<u64>)> = folds
        .iter()
        .map(|it| {
            let attempt = it.attempt.max(1);
            let id = match it.kind {
                FoldKind::Play => ids.play(attempt, it.number),
                FoldKind::Task => ids.task(attempt, it.number),
            };
            (hex(&id), (it.start, it.end))
        })
        .collect();
    for span in spans.iter_mut().filter(|it| it.is_own()) {
        if let Some(place) = places.get(&span.id) {
            span.log = Some(*place);
        }
    }
}

/// What else is known of a span; `ids` are those of the trace.
fn details(all: &[ResourceSpans], id: &str, ids: &HashSet<String>) -> Details {
    for scope in all.iter().flat_map(|it| &it.scope_spans) {
        let Some(span) = scope.spans.iter().find(|it| hex(&it.span_id) == id) else {
            continue;
        };
        let name = scope.scope.as_ref().map(|it| it.name.clone());
        let status = span.status.as_ref();
        let dropped = [
            span.dropped_attributes_count,
            span.dropped_events_count,
            span.dropped_links_count,
        ];
        return Details {
            kind: kind(span.kind()).to_owned(),
            scope: name.unwrap_or_default(),
            message: status.map(|it| it.message.clone()).unwrap_or_default(),
            attributes: attributes(&span.attributes),
            events: span.events.iter().map(event).collect(),
            links: span.links.iter().map(|it| link(it, ids)).collect(),
            dropped: dropped.into_iter().map(u64::from).sum(),
        };
    }
    Details::default()
}

fn attributes(all: &[KeyValue]) -> Vec<Attribute> {
    let one =
        |it: &KeyValue| Attribute::new(&it.key, &it.value.as_ref().map_or_else(String::new, shown));
    all.iter().map(one).collect()
}

fn event(it: &proto::Event) -> Event {
    Event {
        at_nanos: it.time_unix_nano,
        name: it.name.clone(),
        attributes: attributes(&it.attributes),
    }
}

fn link(it: &proto::Link, ids: &HashSet<String>) -> Link {
    let span = hex(&it.span_id);
    Link {
        trace: hex(&it.trace_id),
        is_here: ids.contains(&span),
        span,
    }
}

const fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal => "internal",
        SpanKind::Unspecified => "",
    }
}
