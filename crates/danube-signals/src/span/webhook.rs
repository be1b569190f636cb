//! The span of an attempt to deliver a webhook.

use danube_telemetry::trace::ids::derived;
use danube_telemetry::trace::pair;
use danube_telemetry::trace::proto::{Span, SpanKind, Status, StatusCode};

use super::attempt::{JobSpans, Stretch, below};
use super::declared::SpanDecl;

/// What is made here.
pub(super) const SPANS: &[SpanDecl] = &[SpanDecl {
    name: "send_webhook",
    kind: "client",
    attributes: &[
        "job.id",
        "http.request.method",
        "url.full",
        "server.address",
        "server.port",
        "http.request.resend_count",
        "http.response.status_code",
        "error.type",
    ],
    about: "an attempt to tell the job's end to its `callback_url`",
}];

/// What is known of an attempt to deliver a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookTrace<'a> {
    /// The job that it tells of.
    pub spans: JobSpans<'a>,
    /// The span that it hangs below: the job's latest attempt, or its request when no
    /// worker ever had it.
    pub parent: Option<[u8; 8]>,
    /// Which attempt at the webhook, from 1.
    pub number: u32,
    /// Its address without the query.
    pub url: &'a str,
    /// The host that was called.
    pub host: &'a str,
    /// And its port.
    pub port: u16,
    /// The answer's status.
    pub status: Option<u16>,
    /// What went wrong: one word of a few.
    pub error_type: Option<&'a str>,
    /// To the head of the answer.
    pub time: Stretch,
}

impl WebhookTrace<'_> {
    /// Its id, which the receiver is told as its parent.
    #[must_use]
    pub fn span_id(&self) -> [u8; 8] {
        span_id(&self.spans, self.number)
    }

    /// The span.
    #[must_use]
    pub fn span(&self) -> Span {
        let mut attributes = vec![
            pair("job.id", self.spans.job_id),
            pair("http.request.method", "POST"),
            pair("url.full", self.url),
            pair("server.address", self.host),
            pair("server.port", i64::from(self.port)),
        ];
        if self.number > 1 {
            let again = i64::from(self.number - 1);
            attributes.push(pair("http.request.resend_count", again));
        }
        if let Some(status) = self.status {
            attributes.push(pair("http.response.status_code", i64::from(status)));
        }
        if let Some(error) = self.error_type {
            attributes.push(pair("error.type", error));
        }
        let status = self.error_type.map(|error| Status {
            code: StatusCode::Error.into(),
            message: error.to_owned(),
        });
        let span = Span {
            trace_id: self.spans.context.trace_id.to_vec(),
            span_id: self.span_id().to_vec(),
            name: "send_webhook".to_owned(),
            kind: SpanKind::Client.into(),
            start_time_unix_nano: self.time.began,
            end_time_unix_nano: self.time.ended.max(self.time.began),
            attributes,
            status,
            ..Span::default()
        };
        below(span, self.parent, false)
    }
}

/// The id of the span of an attempt at a job's webhook.
#[must_use]
pub fn span_id(spans: &JobSpans<'_>, number: u32) -> [u8; 8] {
    let parts: [&[u8]; 3] = [spans.job_id.as_bytes(), b"webhook", &number.to_be_bytes()];
    derived(&spans.context.trace_id, &parts)
}
