//! Log records: from the server's own JSON lines, and from whatever else has lines.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use prost::Message;
use serde_json::{Map, Value as Json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::value::{Attribute, Source, Value, pair, text};
use crate::context::TraceContext;

/// First parts of the loggers of what the exporter itself is made of: if they were
/// exported, each message would tell of the one before.
const OWN_LIBRARIES: &[&str] = &[
    "h2",
    "hyper",
    "hyper_util",
    "mio",
    "opentelemetry",
    "prost",
    "rustls",
    "tokio",
    "tokio_util",
    "tonic",
    "tower",
    "ureq",
    "ureq_proto",
    "want",
];

/// Bytes at the beginning of a line within which its logger stands.
const LOGGER_WITHIN: usize = 160;

/// What the records of one source have in common: a job's, for example.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordSource {
    /// Name of the scope.
    pub scope: &'static str,
    /// Where in which trace.
    pub context: TraceContext,
    /// Attributes of every record.
    pub attributes: Vec<Attribute>,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Where it comes from.
    pub source: Arc<RecordSource>,
    /// Nanoseconds since 1970; 0 when not known.
    pub time_unix_nanos: u64,
    /// The text.
    pub body: String,
    /// Attributes of its own.
    pub attributes: Vec<Attribute>,
}

impl Record {
    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let own = self.attributes.iter().map(|(key, value)| {
            let text = match value {
                Value::Text(it) => it.len(),
                _ => 0,
            };
            key.len() + text + size_of::<Attribute>()
        });
        self.body.len() + own.sum::<usize>() + size_of::<Self>()
    }
}

/// Whether a JSON line of ours may be exported.
pub(super) fn may_be_exported(line: &str) -> bool {
    let logger = line.find("\"logger\":\"").filter(|at| *at < LOGGER_WITHIN);
    let logger = logger.and_then(|at| line.get(at + 10..)).unwrap_or("");
    let first = logger.split(['"', ':', '.']).next().unwrap_or("");
    !OWN_LIBRARIES.contains(&first)
}

/// A message of the server's own lines.
pub(super) fn encode_lines(lines: &[Box<str>], source: &Source, observed: u64) -> Bytes {
    let mut scopes: Vec<(String, Vec<LogRecord>)> = Vec::new();
    for line in lines {
        let (logger, record) = of_line(line, observed);
        match scopes.iter_mut().find(|(it, _)| *it == logger) {
            Some((_, records)) => records.push(record),
            None => scopes.push((logger, vec![record])),
        }
    }
    encode(scopes, source)
}

/// A message of records.
pub(super) fn encode_records(records: &[Record], source: &Source, observed: u64) -> Bytes {
    let mut scopes: Vec<(String, Vec<LogRecord>)> = Vec::new();
    for it in records {
        let record = of_record(it, observed);
        match scopes.iter_mut().find(|(name, _)| *name == it.source.scope) {
            Some((_, records)) => records.push(record),
            None => scopes.push((it.source.scope.to_owned(), vec![record])),
        }
    }
    encode(scopes, source)
}

fn encode(scopes: Vec<(String, Vec<LogRecord>)>, source: &Source) -> Bytes {
    let scope_logs = scopes.into_iter().map(|(name, log_records)| ScopeLogs {
        scope: Some(source.proto_scope_of(&name)),
        log_records,
        schema_url: String::new(),
    });
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(source.proto_resource()),
            scope_logs: scope_logs.collect(),
            schema_url: String::new(),
        }],
    };
    request.encode_to_vec().into()
}

fn of_record(it: &Record, observed: u64) -> LogRecord {
    let common = it.source.attributes.iter();
    LogRecord {
        time_unix_nano: it.time_unix_nanos,
        observed_time_unix_nano: observed,
        body: Some(text(it.body.clone())),
        attributes: common
            .chain(&it.attributes)
            .map(|(key, value)| pair(key, value))
            .collect(),
        flags: u32::from(it.source.context.flags),
        trace_id: it.source.context.trace_id.to_vec(),
        span_id: it.source.context.span_id.to_vec(),
        ..LogRecord::default()
    }
}

/// The logger of a line, and the line as a record. One that isn't of our form is
/// its own body.
fn of_line(line: &str, observed: u64) -> (String, LogRecord) {
    let Ok(mut fields) = serde_json::from_str::<Map<String, Json>>(line) else {
        let record = LogRecord {
            observed_time_unix_nano: observed,
            body: Some(text(line)),
            ..LogRecord::default()
        };
        return (String::new(), record);
    };
    let mut taken = |name: &str| match fields.remove(name) {
        Some(Json::String(it)) => it,
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let [time, level, logger, event, message, trace, span] = [
        "timestamp",
        "level",
        "logger",
        "event",
        "message",
        "trace_id",
        "span_id",
    ]
    .map(&mut taken);
    let body = if message.is_empty() { &event } else { &message };
    let attributes = fields
        .iter()
        .filter_map(|(key, value)| Some(pair(key, &plain(value)?)));
    let record = LogRecord {
        time_unix_nano: parse_time(&time),
        observed_time_unix_nano: observed,
        severity_number: severity(&level).into(),
        severity_text: level,
        body: Some(text(body.as_str())),
        attributes: attributes.collect(),
        trace_id: id::<16>(&trace),
        span_id: id::<8>(&span),
        event_name: event,
        ..LogRecord::default()
    };
    (logger, record)
}

fn plain(value: &Json) -> Option<Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(it) => Value::Bool(*it),
        Json::Number(it) => match (it.as_i64(), it.as_f64()) {
            (Some(it), _) => Value::Int(it),
            // Whole numbers beyond OTLP's stay exact as text.
            (None, _) if it.is_u64() => Value::Text(it.to_string()),
            (None, Some(it)) => Value::Float(it),
            (None, None) => return None,
        },
        Json::String(it) => Value::Text(it.clone()),
        other => Value::Text(other.to_string()),
    })
}

fn severity(level: &str) -> SeverityNumber {
    match level {
        "error" => SeverityNumber::Error,
        "warning" => SeverityNumber::Warn,
        "info" => SeverityNumber::Info,
        "debug" => SeverityNumber::Debug,
        "trace" => SeverityNumber::Trace,
        _ => SeverityNumber::Unspecified,
    }
}

fn parse_time(text: &str) -> u64 {
    let time = OffsetDateTime::parse(text, &Rfc3339).map(OffsetDateTime::unix_timestamp_nanos);
    time.ok().and_then(|it| u64::try_from(it).ok()).unwrap_or(0)
}

/// An id that isn't one is none: the protocol refuses it.
fn id<const N: usize>(hex: &str) -> Vec<u8> {
    TraceContext::unhex::<N>(hex).map_or_else(Vec::new, |it| it.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Kind;

    #[test]
    fn a_line_becomes_a_record_with_its_fields_as_attributes() {
        let line = r#"{"timestamp":"2026-11-21T10:11:12.345Z","level":"warning","logger":"danube.api","event":"login_failed","message":"no such user","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","request_id":"ab","user":"eve","attempt":3,"ratio":0.5,"ok":false,"none":null}"#;
        let (logger, record) = of_line(line, 7);
        assert_eq!(logger, "danube.api");
        assert_eq!(record.time_unix_nano, 1_795_255_872_345_000_000);
        assert_eq!(record.observed_time_unix_nano, 7);
        assert_eq!(record.severity_number, 13);
        assert_eq!(record.severity_text, "warning");
        assert_eq!(record.event_name, "login_failed");
        assert_eq!(record.body, Some(text("no such user")));
        assert_eq!(record.trace_id[..2], [0x4b, 0xf9]);
        assert_eq!(record.span_id.len(), 8);
        let shown: Vec<_> = record
            .attributes
            .iter()
            .map(|it| (it.key.as_str(), it.value.clone().unwrap().value.unwrap()))
            .collect();
        assert_eq!(
            shown,
            [
                ("attempt", Kind::IntValue(3)),
                ("ok", Kind::BoolValue(false)),
                ("ratio", Kind::DoubleValue(0.5)),
                ("request_id", Kind::StringValue("ab".into())),
                ("user", Kind::StringValue("eve".into())),
            ]
        );
    }

    #[test]
    fn without_a_message_the_name_of_the_event_is_the_body() {
        let (_, record) = of_line(r#"{"level":"info","event":"job_started"}"#, 0);
        assert_eq!(record.body, Some(text("job_started")));
        assert_eq!(record.trace_id, Vec::<u8>::new());
    }

    #[test]
    fn ids_that_are_none_are_left_out() {
        for line in [
            r#"{"trace_id":"00000000000000000000000000000000","span_id":"xyz"}"#,
            r#"{"trace_id":"4bf9","span_id":"00F067AA0BA902B7"}"#,
            r#"{"trace_id":7}"#,
        ] {
            let (_, record) = of_line(line, 0);
            assert_eq!((record.trace_id.len(), record.span_id.len()), (0, 0));
        }
    }

    #[test]
    fn what_the_exporter_is_made_of_is_not_exported() {
        for (logger, expected) in [
            ("h2::codec::framed_write", false),
            ("h2", false),
            ("tonic::transport", false),
            ("hyper_util::client", false),
            ("danube.api", true),
            ("h2o.jobs", true),
            ("danube_store::h2", true),
        ] {
            let line = format!(
                r#"{{"timestamp":"2026-11-21T10:11:12.345Z","level":"debug","logger":"{logger}","event":"log"}}"#
            );
            assert_eq!(may_be_exported(&line), expected, "{logger}");
        }
    }
}
