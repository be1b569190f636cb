//! The spans of a coordinator's request for a step, as they are drawn: it hangs below the
//! call that the job's own tree shows (`HTTP/2 RunStep`).

use danube_telemetry::trace::ids::derived;
use danube_telemetry::trace::pair;
use danube_telemetry::trace::proto::{KeyValue, Span, SpanKind};

use super::attempt::{JobSpans, Stretch, below};
use super::declared::SpanDecl;

/// What is known of a request that had a step run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunStepTrace<'a> {
    /// Of which job.
    pub spans: JobSpans<'a>,
    /// Of which attempt of it.
    pub attempt: u32,
    /// The step's place in the job.
    pub step: u32,
    /// The request's own id in the trace.
    pub span_id: [u8; 8],
    /// The whole request.
    pub time: Stretch,
    /// Until it was known whose it is and that it is right.
    pub validate: Stretch,
    /// While secrets were loaded; none where it names none.
    pub secret: Option<Stretch>,
    /// From the moment it was handed to the worker until that had run it.
    pub process: Stretch,
    /// Until all that it wrote was stored.
    pub stream: Stretch,
}

/// What is made here.
pub(super) const SPANS: &[SpanDecl] = &[
    SpanDecl {
        name: "POST /rpc/run-step",
        kind: "server",
        attributes: &[
            "http.request.method",
            "http.route",
            "http.response.status_code",
            "job.id",
        ],
        about: "a coordinator's request for a step, until it was answered; kept with the job",
    },
    part(
        "Validate job_id",
        "until it was known which job asks, and that it asks rightly",
    ),
    part(
        "Load secret",
        "while secrets that the step asks for were loaded",
    ),
    part(
        "Stream logs",
        "while the step's output came, until all of it was stored",
    ),
];

const fn part(name: &'static str, about: &'static str) -> SpanDecl {
    SpanDecl {
        name,
        kind: "internal",
        attributes: &["job.id"],
        about,
    }
}

impl RunStepTrace<'_> {
    /// The request's span, then those below it.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let own = vec![
            pair("http.request.method", "POST"),
            pair("http.route", "/rpc/run-step"),
            pair("http.response.status_code", 200_i64),
            pair("job.id", self.spans.job_id),
        ];
        let request = Span {
            span_id: self.span_id.to_vec(),
            ..self.made("POST /rpc/run-step", SpanKind::Server, self.time, own)
        };
        let call = self.spans.call(self.attempt, self.step);
        let mut all = vec![below(request, Some(call), true)];
        all.push(self.child("Validate job_id", self.validate));
        all.extend(self.secret.map(|it| self.child("Load secret", it)));
        all.push(self.child("Run process", self.process));
        all.push(self.child("Stream logs", self.stream));
        all
    }

    fn child(&self, name: &str, time: Stretch) -> Span {
        let own = vec![pair("job.id", self.spans.job_id)];
        let parts: [&[u8]; 2] = [&self.span_id, name.as_bytes()];
        let span = Span {
            span_id: derived(&self.spans.context.trace_id, &parts).to_vec(),
            ..self.made(name, SpanKind::Internal, time, own)
        };
        below(span, Some(self.span_id), false)
    }

    fn made(&self, name: &str, kind: SpanKind, time: Stretch, attributes: Vec<KeyValue>) -> Span {
        Span {
            trace_id: self.spans.context.trace_id.to_vec(),
            name: name.to_owned(),
            kind: kind.into(),
            start_time_unix_nano: time.began,
            end_time_unix_nano: time.ended.max(time.began),
            attributes,
            ..Span::default()
        }
    }
}
