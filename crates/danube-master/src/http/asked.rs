//! Where a request stands in its trace, and how far it was when: for the spans of a
//! submit, which are made when the job is there.

use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, Uri};
use danube_model::{RequestTrace, Trace};
use danube_signals::{Stretch, SubmitTrace};
use danube_telemetry::TraceContext;
use danube_telemetry::propagation::Propagated;
use danube_telemetry::trace::Clock;

/// A request, as handlers take it from its extensions. Clones are the same.
#[derive(Clone)]
pub(crate) struct Asked(Arc<Inner>);

struct Inner {
    name: String,
    method: Method,
    uri: Uri,
    context: TraceContext,
    parent: Option<[u8; 8]>,
    state: Option<String>,
    baggage: Option<String>,
    clock: Clock,
    auth: OnceLock<Stretch>,
    entry: OnceLock<u64>,
}

impl Asked {
    /// Begins now. A child of the caller's trace, or the root of a new one; anything that
    /// isn't exactly one `traceparent` counts as none, and what came with it too.
    pub(crate) fn of(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        let method = request.method().clone();
        let name = route.map_or_else(
            || method.to_string(),
            |it| format!("{method} {}", it.as_str()),
        );
        let values = |name| request.headers().get_all(name).iter();
        let sent = Propagated::extract(|name| values(name).map(HeaderValue::as_bytes));
        let above = sent.as_ref().map(|it| it.context);
        let (state, baggage) = sent.map_or((None, None), |it| (it.state, it.baggage));
        Self(Arc::new(Inner {
            name,
            method,
            uri: request.uri().clone(),
            context: above.map_or_else(TraceContext::random, |it| it.child()),
            parent: above.map(|it| it.span_id),
            state,
            baggage,
            clock: Clock::start(),
            auth: OnceLock::new(),
            entry: OnceLock::new(),
        }))
    }

    /// Its own place in the trace.
    pub(crate) fn context(&self) -> TraceContext {
        self.0.context
    }

    /// The caller's span, if there is one.
    pub(crate) fn parent(&self) -> Option<[u8; 8]> {
        self.0.parent
    }

    /// When it came, in nanoseconds since 1970.
    pub(crate) fn began(&self) -> u64 {
        self.0.clock.began()
    }

    /// Now, in nanoseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.0.clock.now()
    }

    /// It is known who asks; looked up since then.
    pub(crate) fn authenticated(&self, since: u64) {
        // The first one to ask counts.
        let _ = self.0.auth.set(Stretch {
            began: since,
            ended: self.now(),
        });
    }

    /// What it asks for is done to its path.
    pub(crate) fn method(&self) -> &Method {
        &self.0.method
    }

    /// Its whole path; below a nested router a request has the rest of it alone.
    pub(crate) fn path(&self) -> &str {
        self.0.uri.path()
    }

    /// The audit log knows of it, by this number.
    pub(crate) fn put_down(&self, entry: u64) {
        // The first one to ask counts.
        let _ = self.0.entry.set(entry);
    }

    /// Its number in the audit log, if it is one that goes there.
    pub(crate) fn entry(&self) -> Option<u64> {
        self.0.entry.get().copied()
    }

    /// What is stored of it with the job that it makes: it is about to be.
    pub(crate) fn trace(&self, source_type: &str, load: Stretch) -> Trace {
        let auth = self.auth();
        Trace {
            state: self.0.state.clone(),
            baggage: self.0.baggage.clone(),
            source_type: source_type.to_owned(),
            request: Some(RequestTrace {
                name: self.0.name.clone(),
                span_id: self.0.context.span_id,
                parent: self.0.parent,
                began: self.0.clock.began(),
                auth: (auth.began, auth.ended),
                load: (load.began, load.ended),
                store: load.ended,
            }),
            follows: None,
        }
    }

    /// Its spans, once the job is there and the scheduler knows: loaded then, durable then.
    pub(crate) fn submitted<'a>(
        &'a self,
        job_id: &'a str,
        is_playbook: bool,
        (load, durable): (Stretch, u64),
    ) -> SubmitTrace<'a> {
        let stretch = |began, ended| Stretch { began, ended };
        let now = self.now();
        SubmitTrace {
            name: &self.0.name,
            job_id,
            context: self.0.context,
            parent: self.0.parent,
            time: stretch(self.0.clock.began(), now),
            auth: self.auth(),
            load,
            create: stretch(load.ended, durable),
            trigger: stretch(durable, now),
            enqueue: None,
            is_playbook,
        }
    }

    fn auth(&self) -> Stretch {
        let began = self.0.clock.began();
        let none = Stretch {
            began,
            ended: began,
        };
        self.0.auth.get().copied().unwrap_or(none)
    }
}
