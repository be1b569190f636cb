//! Shows a job's trace, and takes what the tools inside a job send.

use std::time::Instant;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use danube_api::{Code, Problem};
use danube_model::JobId;
use danube_telemetry::trace::receive::{Encoding, Refused, WIRE_BYTES_MAX, decode};
use danube_telemetry::trace::{jaeger, spans};
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::caller::{Looker, key};
use super::incoming::Id;
use super::jobs::{find, unknown};
use crate::app::{Shared, blocking};
use crate::rates::Rate;

/// Bytes of a body on the wire.
pub(crate) const BODY_BYTES_MAX: usize = WIRE_BYTES_MAX;

/// How a trace may be written.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TraceQuery {
    /// `otlp` (OTLP JSON) or `jaeger` (as Jaeger's UI reads it from a file); `otlp` when
    /// absent.
    #[param(pattern = "^(otlp|jaeger)$")]
    format: Option<String>,
}

/// Shows the trace of a job: from the request that submitted it to the last span that its
/// tools sent.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/trace", tag = "traces",
    params(("id" = String, Path, description = "Id or short id"), TraceQuery),
    responses((status = 200, description = "All spans, each once", content_type = "application/json", body = serde_json::Value),
        (status = "4XX", description = "Unknown, deleted, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn trace(
    State(app): State<Shared>,
    Looker(caller): Looker,
    Id(id): Id,
    query: Result<Query<TraceQuery>, QueryRejection>,
) -> Answer<Response> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let is_jaeger = match query.format.as_deref() {
        None | Some("otlp") => false,
        Some("jaeger") => true,
        Some(_) => {
            let detail = "`format` must be `otlp` or `jaeger`";
            return Err(Problem::new(Code::Malformed, detail).into());
        }
    };
    let job = find(&app, &caller, &id).await?;
    if let Some(at) = job.log_deleted_at {
        let detail = format!("the trace of this job was deleted with its log at {at}");
        return Err(Problem::new(Code::LogGone, detail).into());
    }
    let body = body(&app, job.id, is_jaeger).await?;
    let kind = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

/// A message of OTLP.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<T> {
    resource_spans: T,
}

async fn body(app: &Shared, job: JobId, is_jaeger: bool) -> Result<Vec<u8>, Problem> {
    let traces = app.traces.clone();
    let made = blocking(move || {
        let Some(shown) = traces.of(job)? else {
            return Ok(None);
        };
        let written = if is_jaeger {
            jaeger::to_json(&shown)
        } else {
            serde_json::to_vec(&Message {
                resource_spans: shown,
            })
        };
        Ok(Some(written.expect("spans are JSON")))
    });
    let made = made.await?.map_err(|error| app.problem(&error))?;
    made.ok_or_else(|| unknown(&job.to_string()))
}

/// Takes spans of a tool inside a job, which shows the job's token. OTLP over HTTP:
/// protobuf or JSON, also packed with gzip.
#[utoipa::path(post, path = "/v1/traces", tag = "traces",
    request_body(description = "ExportTraceServiceRequest",
        content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
    responses((status = 200, description = "Taken, but for as many as `partialSuccess` says",
            content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
        (status = "4XX", description = "A `google.rpc.Status`: too large, not OTLP, not this job's trace, or not a job's token; nothing was kept",
            content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
        (status = "5XX", description = "A `google.rpc.Status`; nothing was kept",
            content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json")))))]
pub(crate) async fn receive(State(app): State<Shared>, request: Request) -> Response {
    let headers = request.headers();
    let encoding = text(headers, header::CONTENT_TYPE).and_then(Encoding::of);
    let answer = encoding.unwrap_or(Encoding::Protobuf);
    let (status, body) = match taken(&app, encoding, request).await {
        Ok(not_kept) => (StatusCode::OK, answer.taken(not_kept)),
        Err(refused) => (
            StatusCode::from_u16(refused.status).unwrap_or(StatusCode::BAD_REQUEST),
            answer.refused(&refused),
        ),
    };
    let kind = HeaderValue::from_static(answer.content_type());
    let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
    if matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// How many spans found no room.
async fn taken(
    app: &Shared,
    encoding: Option<Encoding>,
    request: Request,
) -> Result<usize, Refused> {
    // First of all: from strangers nothing is read.
    let token = key(request.headers()).unwrap_or_default();
    let bearer = app.bearer(token).ok_or_else(|| {
        Refused::unauthenticated("send the token of a running job: `Authorization: Bearer TOKEN`")
    })?;
    let encoding = encoding.ok_or_else(|| {
        Refused::unsupported("`Content-Type` must be application/x-protobuf or application/json")
    })?;
    if !app.span_rates.take(bearer.attempt.job, Instant::now()) {
        return Err(Refused::too_many(
            "this job sends too many requests; send larger batches",
        ));
    }
    let stopping = |_| Refused::unavailable("the server is stopping");
    let _body_turn = app.turns.bodies.acquire().await.map_err(stopping)?;
    let packing = text(request.headers(), header::CONTENT_ENCODING).map(str::to_owned);
    let body = Bytes::from_request(request, app).await.map_err(|error| {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Refused::too_large("the body has more than 4 MiB; send smaller batches")
        } else {
            Refused::invalid("the body couldn't be read to its end")
        }
    })?;
    let _turn = app.turns.receipts.acquire().await.map_err(stopping)?;
    let traces = app.traces.clone();
    let kept = blocking(move || {
        let all = decode(encoding, packing.as_deref(), &body)?;
        let own = bearer.context.trace_id;
        if spans(&all).any(|it| it.trace_id != own) {
            return Err(Refused::forbidden(
                "a span belongs to another trace than this job's: begin below TRACEPARENT",
            ));
        }
        let kept = traces.received(&bearer, all);
        kept.map_err(|_| Refused::unavailable("the spans can't be stored now"))
    });
    let kept = kept.await.map_err(|it| Refused::unavailable(it.detail))?;
    Ok(kept?.not_kept)
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// How fast a job may send: an exporter sends one request every few seconds, a test run with a
/// process a test some dozens.
pub(crate) const RATE: Rate = Rate {
    burst: 200,
    per_second: 20.0,
};
