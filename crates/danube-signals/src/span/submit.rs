//! The spans of the request that submitted a job.

use danube_telemetry::TraceContext;
use danube_telemetry::trace::ids::derived;
use danube_telemetry::trace::pair;
use danube_telemetry::trace::proto::{KeyValue, Span, SpanKind};

use super::attempt::{Stretch, below};
use super::declared::SpanDecl;

/// What is known of a request that submitted a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitTrace<'a> {
    /// The method and the route's template: the span's name.
    pub name: &'a str,
    /// The job that it made.
    pub job_id: &'a str,
    /// Its own place in the trace.
    pub context: TraceContext,
    /// The caller's span.
    pub parent: Option<[u8; 8]>,
    /// The whole request, as far as it got.
    pub time: Stretch,
    /// Who is it.
    pub auth: Stretch,
    /// What is it to do.
    pub load: Stretch,
    /// Until it was durable.
    pub create: Stretch,
    /// Until the scheduler knew.
    pub trigger: Stretch,
    /// While it was put into Redis; none where it wasn't.
    pub enqueue: Option<Stretch>,
    /// The job is a playbook's: its spans have the names of the second document.
    pub is_playbook: bool,
}

/// What is made here.
pub(super) const SPANS: &[SpanDecl] = &[
    SpanDecl {
        name: "POST /api/v1/jobs",
        kind: "server",
        attributes: &[
            "http.request.method",
            "http.route",
            "http.response.status_code",
            "job.id",
        ],
        about: "the request that submitted the job (or `POST /api/v1/jobs/{id}/retry`); kept with the job",
    },
    part("Check auth", "until it was known who asks"),
    part("Load pipeline from DB", "until it was known what to do"),
    SpanDecl {
        name: "Create job record",
        kind: "client",
        attributes: DATABASE,
        about: "until the job was on disk",
    },
    part("Trigger orchestrator", "until the scheduler knew"),
    part(
        "api.submit_job",
        "of a playbook job: from its check to the answer",
    ),
    SpanDecl {
        name: "db.create_job",
        kind: "client",
        attributes: DATABASE,
        about: "of a playbook job: until it was on disk",
    },
    part(
        "queue.enqueue",
        "of a playbook job without Redis: until the scheduler knew",
    ),
    SpanDecl {
        name: REDIS_ENQUEUE,
        kind: "producer",
        attributes: &["messaging.system", "messaging.operation.type"],
        about: "of a playbook job with Redis: while it was put there; the answer doesn't wait for it",
    },
];

const DATABASE: &[&str] = &[
    "db.system.name",
    "db.operation.name",
    "db.collection.name",
    "db.query.text",
];

const fn part(name: &'static str, about: &'static str) -> SpanDecl {
    SpanDecl {
        name,
        kind: "internal",
        attributes: &[],
        about,
    }
}

/// The span of the way into Redis.
const REDIS_ENQUEUE: &str = "redis.enqueue";

/// What is said of the statement that stores a job: without its values.
const INSERT: &str = "INSERT INTO jobs (…) VALUES (?, …)";

impl SubmitTrace<'_> {
    /// The request's span, and those below it as they are drawn.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let method = self.name.split(' ').next().unwrap_or_default();
        let route = self.name.split(' ').nth(1).unwrap_or_default();
        let own = vec![
            pair("http.request.method", method),
            pair("http.route", route),
            pair("http.response.status_code", 202_i64),
            pair("job.id", self.job_id),
        ];
        let request = Span {
            span_id: self.context.span_id.to_vec(),
            ..self.made(self.name, SpanKind::Server, self.time, own)
        };
        let database = vec![
            pair("db.system.name", "sqlite"),
            pair("db.operation.name", "INSERT"),
            pair("db.collection.name", "jobs"),
            pair("db.query.text", INSERT),
        ];
        if self.is_playbook {
            let submit = Stretch {
                began: self.load.began,
                ended: self.trigger.ended,
            };
            let submit = self.child("api.submit_job", SpanKind::Internal, submit, Vec::new());
            let parent = submit.span_id.as_slice().try_into().ok();
            let create = self.child("db.create_job", SpanKind::Client, self.create, database);
            let enqueue = match self.enqueue {
                None => self.child("queue.enqueue", SpanKind::Internal, self.trigger, vec![]),
                Some(time) => {
                    let own = vec![
                        pair("messaging.system", "redis"),
                        pair("messaging.operation.type", "send"),
                    ];
                    self.child(REDIS_ENQUEUE, SpanKind::Producer, time, own)
                }
            };
            return vec![
                below(request, self.parent, true),
                submit,
                below(create, parent, false),
                below(enqueue, parent, false),
            ];
        }
        vec![
            below(request, self.parent, true),
            self.child("Check auth", SpanKind::Internal, self.auth, Vec::new()),
            self.child(
                "Load pipeline from DB",
                SpanKind::Internal,
                self.load,
                Vec::new(),
            ),
            self.child("Create job record", SpanKind::Client, self.create, database),
            self.child(
                "Trigger orchestrator",
                SpanKind::Internal,
                self.trigger,
                Vec::new(),
            ),
        ]
    }

    /// The span of the way into Redis alone, which ends later than the others.
    #[must_use]
    pub fn enqueue_span(&self) -> Option<Span> {
        let spans = self.spans().into_iter();
        spans.rev().find(|it| it.name == REDIS_ENQUEUE)
    }

    fn child(&self, name: &str, kind: SpanKind, time: Stretch, own: Vec<KeyValue>) -> Span {
        let parts: [&[u8]; 2] = [&self.context.span_id, name.as_bytes()];
        let span = Span {
            span_id: derived(&self.context.trace_id, &parts).to_vec(),
            ..self.made(name, kind, time, own)
        };
        below(span, Some(self.context.span_id), false)
    }

    fn made(&self, name: &str, kind: SpanKind, time: Stretch, attributes: Vec<KeyValue>) -> Span {
        Span {
            trace_id: self.context.trace_id.to_vec(),
            name: name.to_owned(),
            kind: kind.into(),
            start_time_unix_nano: time.began,
            end_time_unix_nano: time.ended.max(time.began),
            attributes,
            ..Span::default()
        }
    }
}
