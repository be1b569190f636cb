//! What is said of the span in which something is told.

use std::fmt;
use std::sync::{Arc, Mutex};

use danube_signals::*;
use danube_telemetry::{TraceContext, span};
use tracing::field::{Field, Visit};
use tracing::span::{Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// Keeps what is recorded on spans after their start: span, field, value.
#[derive(Clone, Default)]
struct Marks(Arc<Mutex<Vec<(String, String, String)>>>);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Marks {
    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).expect("the span").name().to_owned();
        values.record(&mut Add(self, span));
    }
}

struct Add<'a>(&'a Marks, String);

impl Visit for Add<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        let Self(marks, span) = self;
        let mark = (span.clone(), field.name().to_owned(), value.to_owned());
        marks.0.lock().unwrap().push(mark);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn request(context: &TraceContext) -> RequestSpan<'_> {
    RequestSpan {
        request_id: "r",
        context,
        parent: None,
        method: "GET",
        route: None,
        path: "/",
    }
}

/// What is recorded on the request's span while this is told in it.
fn marks(tell: impl FnOnce(&Signals)) -> Vec<(String, String, String)> {
    span::set_recorded(true);
    let signals = Signals::new(BuildInfo::default(), Limits::default());
    let marks = Marks::default();
    let subscriber = tracing_subscriber::registry().with(marks.clone());
    tracing::subscriber::with_default(subscriber, || {
        let _request = request_span(&request(&TraceContext::random())).entered();
        tell(&signals);
    });
    let marks = marks.0.lock().unwrap();
    marks.clone()
}

#[test]
fn an_error_of_the_system_marks_the_innermost_span_with_its_kind() {
    let seen = marks(|signals| signals.system_error(SystemError::Database));
    let failed = [("error.type", "database"), ("otel.status_code", "ERROR")]
        .map(|(field, value)| ("request".to_owned(), field.to_owned(), value.to_owned()));
    assert_eq!(seen, failed);
}

#[test]
fn what_is_no_failure_of_the_span_leaves_it_alone() {
    let seen = marks(|signals| {
        signals.emit(StepStarted {
            job_id: "0190-a",
            step: "s",
        });
        signals.emit(LoginFailed {
            user: None,
            resource: None,
            action: None,
        });
        signals.emit(JobFailed {
            is_playbook: false,
            job_id: "0190-a",
            error_type: "step_failed",
            error_message: "x",
            retry_count: 0,
        });
    });
    assert_eq!(seen, []);
}
