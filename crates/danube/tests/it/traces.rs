//! The traces of jobs, as a client reads them: one tree from the request to each step's
//! process, whatever becomes of the job.

mod received;
mod slow;
mod trees;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use danube_telemetry::trace::proto::{Span, SpanKind, TracesData};
use danube_telemetry::trace::tree::waterfall;
use danube_telemetry::trace::{hex, text_of};
use serde_json::{Value, json};

use crate::master::{Master, id, one_step};
use crate::processes::arrival;

/// The spans of a job, as the API shows them.
#[track_caller]
pub(crate) fn spans(master: &Master, job: &str) -> Vec<Span> {
    let answer = master.get(&format!("/api/v1/jobs/{job}/trace"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let read: TracesData = serde_json::from_slice(&answer.body).expect("OTLP JSON");
    let scopes = read
        .resource_spans
        .into_iter()
        .flat_map(|it| it.scope_spans);
    scopes.flat_map(|it| it.spans).collect()
}

/// The tree as it is drawn: a line a span, two spaces a level, its kind if it isn't
/// internal, and what went wrong.
pub(crate) fn drawn(spans: &[Span]) -> String {
    const HOUR_NANOS: u64 = 3_600_000_000_000;
    let mut spans = spans.to_vec();
    for it in spans.iter_mut().filter(|it| it.name.starts_with("Job ")) {
        // A job may begin before its request knows that it was told of.
        it.start_time_unix_nano += HOUR_NANOS;
    }
    let mut out = String::new();
    for node in waterfall(&spans) {
        let span = &spans[node.span];
        out.push_str(&"  ".repeat(node.depth));
        out.push_str(&span.name);
        match span.kind() {
            SpanKind::Server => out.push_str(" (server)"),
            SpanKind::Client => out.push_str(" (client)"),
            _ => {}
        }
        if let Some(error) = text_of(&span.attributes, "error.type") {
            assert_eq!(span.status.as_ref().map(|it| it.code), Some(2), "{span:?}");
            out.push_str(&format!(" ! {error}"));
        }
        out.push('\n');
    }
    out
}

/// The one span with this name.
#[track_caller]
pub(crate) fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|it| it.name == name);
    let first = found.next();
    assert!(found.next().is_none(), "{name} is there twice");
    first.unwrap_or_else(|| panic!("no {name} in\n{}", drawn(spans)))
}

/// A job that shows its environment to a listener and then waits for a word.
pub(crate) struct Told {
    pub(crate) job: String,
    /// The words that it was asked for.
    pub(crate) words: Vec<String>,
    pub(crate) connection: BufReader<TcpStream>,
}

impl Told {
    /// Submits a job that tells these variables.
    pub(crate) fn start(master: &Master, variables: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let words: Vec<String> = variables.iter().map(|it| format!("${it}")).collect();
        let script = format!(
            "exec 9<>/dev/tcp/127.0.0.1/{port}; echo \"{}\" >&9; read -r word <&9",
            words.join(" ")
        );
        let mut order = one_step(&script);
        order["spec"]["shell"] = json!("bash");
        let job = id(&master.submit(&order));
        let mut connection = BufReader::new(arrival(&listener));
        let mut line = String::new();
        connection.read_line(&mut line).unwrap();
        Self {
            job,
            words: line.split_whitespace().map(str::to_owned).collect(),
            connection,
        }
    }

    /// Lets it go on.
    pub(crate) fn go(&mut self) {
        self.connection.get_mut().write_all(b"go\n").unwrap();
    }
}

/// The ids in a `traceparent`.
pub(crate) fn ids(traceparent: &str) -> (String, String) {
    let parts: Vec<&str> = traceparent.split('-').collect();
    assert_eq!((parts.len(), parts[0]), (4, "00"), "{traceparent}");
    (parts[1].to_owned(), parts[2].to_owned())
}

/// An attribute's value as it is written in JSON.
pub(crate) fn value(span: &Span, key: &str) -> Option<Value> {
    let json = serde_json::to_value(&span.attributes).expect("attributes are JSON");
    let all = json.as_array().expect("a list").iter();
    let found = all.into_iter().find(|it| it["key"] == key)?;
    let value = found["value"].as_object()?.values().next()?;
    Some(value.clone())
}

/// Id of a span in hex.
pub(crate) fn span_id(span: &Span) -> String {
    hex(&span.span_id)
}
