//! The traces of jobs: `traces/<job_id>.jsonl`, and what of them goes to a collector.
//!
//! What an attempt did is handed to a thread that writes it ([`Later`]) just before its end
//! is durable: whoever sees the end finds it, since a reader has it written first. A span
//! that is written again counts as it is last. A crash costs nothing:
//! whoever reads a trace ([`Traces::of`]) gets what is missing made anew from the store
//! (`compose.rs`), under the same ids, and an ended job's file gets it too. An attempt whose
//! worker was lost is written, from the store as well, when the job is taken back.

mod compose;
mod received;
mod submits;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use danube_model::{Attempt, JobId, State};
use danube_redact::{Rules, Secrets};
use danube_signals::{AttemptTrace, RunStepTrace, Stretch, SubmitTrace, WebhookTrace};
use danube_store::{JobTrace, Store, StoreError};
use danube_telemetry::context;
use danube_telemetry::otlp::{Attribute, Lost, Records, Spans};
use danube_telemetry::trace::files::{Kept, Limits, NOT_KEPT, Stored, TraceFiles, Writer};
use danube_telemetry::trace::ids::derived;
use danube_telemetry::trace::later::Later;
use danube_telemetry::trace::proto::{
    InstrumentationScope, Resource, ResourceSpans, ScopeSpans, Span, SpanKind,
};
use danube_telemetry::trace::sampling::Sampling;
use danube_telemetry::trace::{Clock, pair, spans};
use danube_worker::trace::without_secrets;
use danube_worker::{Bearer, Traced};

use crate::settings::Settings;
use submits::Submits;

/// What the tools of one job may have kept: a test run of some thousand tests.
const LIMITS: Limits = Limits {
    spans_max: 10_000,
    bytes_max: 16 * 1024 * 1024,
};

/// The scope of the server's own spans.
const SCOPE: &str = "danube.trace";

/// What goes to a collector by way of the master, and who sends it.
#[derive(Debug, Default)]
pub struct Exports {
    /// Takes the logs of jobs, if somebody wants them.
    pub job_logs: Option<Records>,
    /// Takes the spans of jobs, if somebody wants them.
    pub spans: Option<Spans>,
    /// How the export goes.
    pub lost: Option<Lost>,
    /// Who sends: attributes of the resource of all spans, the stored ones too.
    pub resource: Vec<Attribute>,
}

/// The traces. Clones are the same.
#[derive(Clone)]
pub(crate) struct Traces(Arc<Inner>);

struct Inner {
    files: TraceFiles,
    /// What is to be written into them.
    later: Later,
    store: Store,
    rules: Rules,
    sampling: Sampling,
    spans: Option<Spans>,
    resource: Resource,
    submits: Submits,
    /// Whether jobs wait in Redis.
    by_redis: bool,
}

impl Traces {
    /// Opens the directory.
    pub(crate) fn open(settings: &Settings, store: Store, exports: &Exports) -> io::Result<Self> {
        let files = TraceFiles::open(&settings.data_dir.join("traces"), LIMITS)?;
        let attributes = exports.resource.iter();
        let attributes = attributes.map(|(key, value)| pair(key, value.clone()));
        let resource = Resource {
            attributes: attributes.collect(),
            ..Resource::default()
        };
        Ok(Self(Arc::new(Inner {
            later: Later::start(files.clone())?,
            files,
            store,
            rules: settings.rules.clone(),
            sampling: settings.sampling,
            spans: exports.spans.clone(),
            resource,
            submits: Submits::default(),
            by_redis: settings.queue_url.is_some(),
        })))
    }

    /// A request made a job. Its own span is exported as that of any request, those below
    /// it here, if whoever asked wants them.
    pub(crate) fn submitted(&self, job: JobId, trace: &SubmitTrace<'_>) {
        if trace.context.flags & context::SAMPLED != 0
            && let Some(export) = &self.0.spans
        {
            // That of the queue is told when it is over, where Redis carries it.
            let is_late = trace.is_playbook && self.0.by_redis;
            let mut spans = trace.spans();
            spans.truncate(spans.len() - usize::from(is_late));
            export.push_own(spans.iter().skip(1));
        }
        let early = self.0.submits.remember(job, trace);
        if trace.context.flags & context::SAMPLED != 0
            && let (Some(export), Some(span)) = (&self.0.spans, early)
        {
            export.push_own(std::iter::once(&span));
        }
    }

    /// A job was put into Redis.
    pub(crate) fn enqueued(&self, job: JobId, time: Stretch) {
        let span = self.0.submits.enqueued(job, time);
        if let (Some(export), Some((span, true))) = (&self.0.spans, span) {
            export.push_own(std::iter::once(&span));
        }
    }

    /// A job ended before a worker had it.
    pub(crate) fn ended_unclaimed(&self, job: JobId) {
        let spans = self.0.submits.take(job);
        if !spans.is_empty() {
            self.0.later.push(&job.to_string(), self.own(spans));
        }
    }

    /// An attempt ends: it is taken down before its end is durable, so that whoever sees the
    /// end finds it. If that never comes to be, what is written later counts.
    pub(crate) fn write(&self, traced: &Traced) {
        let name = traced.attempt.job.to_string();
        let mut all = self.0.submits.take(traced.attempt.job);
        all.extend(traced.spans.iter().cloned());
        let parent = traced.spans.first().map(|it| it.span_id.clone());
        all.extend(self.not_kept(&name, &traced.trace_id, parent));
        self.0.later.push(&name, self.own(all));
    }

    /// The worker of an attempt is gone, and its job was taken back.
    pub(crate) fn interrupted(&self, attempt: Attempt) {
        if let Some(traced) = self.rewrite(attempt) {
            self.export(&traced);
        }
    }

    /// A coordinator's request for a step is about to be answered: it is taken down before,
    /// so that whoever sees the job's end finds it. Its own span is exported as that of any
    /// request.
    pub(crate) fn called(&self, job: JobId, trace: &RunStepTrace<'_>) {
        let spans = trace.spans();
        if let Some(export) = &self.0.spans
            && trace.spans.context.flags & context::SAMPLED != 0
        {
            export.push_own(spans.iter().skip(1));
        }
        self.0.later.push(&job.to_string(), self.own(spans));
    }

    /// A webhook of an ended job was tried.
    pub(crate) fn webhook(&self, trace: &WebhookTrace<'_>) {
        let spans = vec![trace.span()];
        let took = Duration::from_nanos(trace.time.ended.saturating_sub(trace.time.began));
        let trace_id = &trace.spans.context.trace_id;
        let is_wanted = self
            .0
            .sampling
            .keeps(trace_id, trace.error_type.is_some(), took);
        if let Some(export) = self.0.spans.as_ref().filter(|_| is_wanted) {
            export.push_own(&spans);
        }
        self.0.later.push(trace.spans.job_id, self.own(spans));
    }

    /// Writes an attempt as the store knows it, over what was written before.
    pub(crate) fn rewrite(&self, attempt: Attempt) -> Option<Traced> {
        let stored = self.0.store.job_trace(attempt.job).ok()??;
        let trace = compose::attempt(&stored, attempt.number, now())?;
        let traced = Traced::new(attempt, &trace, &self.secrets(&stored));
        self.write(&traced);
        Some(traced)
    }

    /// A tool inside a job sent spans: they are kept without secrets, as far as there is
    /// room.
    ///
    /// # Errors
    /// What the system says: nothing was kept.
    pub(crate) fn received(&self, from: &Bearer, all: Vec<ResourceSpans>) -> io::Result<Kept> {
        let name = from.attempt.job.to_string();
        let all = without_secrets(all, &from.secrets);
        let kept = self.0.files.append(&name, Writer::Other, all)?;
        let before = kept.not_kept_in_all - kept.not_kept;
        // Now and then, so that a crash doesn't make it a secret; at the end for good.
        let is_news = before == 0 || kept.not_kept_in_all.ilog2() != before.ilog2();
        if kept.not_kept > 0 && is_news {
            let note = self.not_kept(&name, &from.context.trace_id, None);
            if let Some(note) = note {
                let own = self.own(vec![note]);
                self.0.files.append(&name, Writer::Server, own)?;
            }
        }
        Ok(kept)
    }

    /// The job's trace: what stands in its file, and made anew what is missing there. None
    /// when there is no such job.
    ///
    /// # Errors
    /// When the database or the file can't be read.
    pub(crate) fn of(&self, job: JobId) -> Result<Option<Vec<ResourceSpans>>, StoreError> {
        Ok(self.told_apart(job)?.map(Stored::all))
    }

    /// The same, the server's own spans apart from those that tools sent.
    ///
    /// # Errors
    /// When the database or the file can't be read.
    pub(crate) fn told_apart(&self, job: JobId) -> Result<Option<Stored>, StoreError> {
        let Some(stored) = self.0.store.job_trace(job)? else {
            return Ok(None);
        };
        let name = job.to_string();
        self.0.later.settle(&name);
        let file = self.0.files.read(&name);
        let file = file.map_err(|error| StoreError::Io(format!("read the trace: {error}")))?;
        let there: HashSet<&[u8]> = spans(&file.own).map(|it| &it.span_id[..]).collect();
        let (mut made, mut open) = (Vec::new(), Vec::new());
        let request = stored.trace.request.as_ref();
        if request.is_some_and(|it| !there.contains(&it.span_id[..])) {
            match self.0.submits.spans(job) {
                remembered if !remembered.is_empty() => open.extend(remembered),
                _ if stored.job.state == State::Pending => {
                    open.extend(compose::submit(&stored, self.0.by_redis));
                }
                _ => made.extend(compose::submit(&stored, self.0.by_redis)),
            }
        }
        let now = now();
        for number in 1..=stored.job.attempt {
            let Some(trace) = compose::attempt(&stored, number, now) else {
                continue;
            };
            let own = trace.ids().attempt(number).span_id;
            if there.contains(&own[..]) {
                continue;
            }
            let all = if trace.is_unfinished {
                &mut open
            } else {
                &mut made
            };
            all.extend(self.clean(&stored, &trace));
        }
        let mut missing = Vec::new();
        if !made.is_empty() {
            missing = self.own(made);
            let is_over = stored.job.state.is_terminal() && stored.job.log_deleted_at.is_none();
            if is_over {
                let _ = self.0.files.append(&name, Writer::Server, missing.clone());
            }
        }
        if !open.is_empty() {
            missing.extend(self.own(open));
        }
        Ok(Some(file.with(missing)))
    }

    /// The job's log is gone, and its trace goes with it; the bytes that are free again.
    pub(crate) fn delete(&self, job: &str) -> io::Result<u64> {
        self.0.later.settle(job);
        self.0.files.delete(job)
    }

    /// The jobs whose trace was last written before that time.
    pub(crate) fn older_than(&self, before: SystemTime) -> io::Result<Vec<String>> {
        self.0.files.older_than(before)
    }

    /// A value turned out to be secret: it goes from what is stored already.
    ///
    /// # Errors
    /// What the system says; then it may still be there.
    pub(crate) fn mask(&self, job: JobId, secrets: &Secrets) -> io::Result<()> {
        let name = job.to_string();
        self.0.later.settle(&name);
        self.0.files.rewrite(&name, |all| {
            for it in all {
                *it = without_secrets(vec![std::mem::take(it)], secrets).remove(0);
            }
        })
    }

    /// The master ends: what waits is written, if the disk takes it in time.
    pub(crate) fn finish(&self, deadline: Duration) {
        // What isn't is made again from the store.
        let _ = self.0.later.finish(deadline);
    }

    fn clean(&self, stored: &JobTrace, trace: &AttemptTrace) -> Vec<Span> {
        let attempt = Attempt {
            job: stored.job.id,
            fence: 0,
            number: trace.number,
        };
        Traced::new(attempt, trace, &self.secrets(stored)).spans
    }

    /// What is kept out of what the store says of a job.
    pub(crate) fn secrets(&self, stored: &JobTrace) -> Secrets {
        let secrets = Secrets::new(self.0.rules.clone());
        for mask in &stored.masks {
            // Each was taken when the job was submitted.
            let _ = secrets.register_short(mask.as_bytes());
        }
        secrets
    }

    fn own(&self, spans: Vec<Span>) -> Vec<ResourceSpans> {
        vec![ResourceSpans {
            resource: Some(self.0.resource.clone()),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: SCOPE.to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans,
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }]
    }

    /// Sends the spans of an attempt that has ended, and what came for its job, if they are
    /// worth it.
    pub(crate) fn export(&self, traced: &Traced) {
        let Some(export) = &self.0.spans else { return };
        let sampling = &self.0.sampling;
        if !sampling.keeps(&traced.trace_id, traced.has_failed, traced.took) {
            return;
        }
        export.push_own(&traced.spans);
        let name = &traced.attempt.job.to_string();
        let parent = traced.spans.first().map(|it| it.span_id.clone());
        export.push_own(&self.not_kept(name, &traced.trace_id, parent));
        if !self.0.files.has_others(name) {
            return;
        }
        self.0.later.settle(name);
        if let Ok(stored) = self.0.files.read(name) {
            let received = received::of_attempt(stored.received, &traced.spans, &stored.own);
            export.push_others(received);
        }
    }

    /// A span that says how many found no room, if any did.
    fn not_kept(&self, name: &str, trace: &[u8; 16], parent: Option<Vec<u8>>) -> Option<Span> {
        let count = self.0.files.not_kept(name);
        let now = now();
        let number = i64::try_from(count).unwrap_or(i64::MAX);
        (count > 0).then(|| Span {
            trace_id: trace.to_vec(),
            span_id: derived(trace, &[name.as_bytes(), b"not kept"]).to_vec(),
            parent_span_id: parent.unwrap_or_default(),
            name: format!("{count} spans not kept"),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: now,
            end_time_unix_nano: now,
            attributes: vec![pair(NOT_KEPT, number)],
            ..Span::default()
        })
    }
}

fn now() -> u64 {
    Clock::start().began()
}
