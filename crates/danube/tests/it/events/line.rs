//! A line of the server log, with its keys in their order.

use std::fmt;

use danube_signals::{EventDecl, State, events};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// Keys and values as they stand in the line.
#[derive(Debug)]
pub(super) struct Line(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Line;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Line(pairs))
            }
        }
        from.deserialize_map(Pairs)
    }
}

impl Line {
    #[track_caller]
    pub(super) fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    pub(super) fn event(&self) -> &str {
        self.text("event")
    }

    fn text(&self, key: &str) -> &str {
        let found = self.0.iter().find(|(it, _)| it == key);
        found
            .and_then(|(_, value)| value.as_str())
            .unwrap_or_default()
    }

    fn decl(&self) -> &'static EventDecl {
        let decl = events().find(|it| it.name == self.event());
        decl.unwrap_or_else(|| panic!("{} is not declared: {self:?}", self.event()))
    }

    /// What stands before the event's own fields, in the order of the schema.
    fn head_keys(&self) -> Vec<&str> {
        let mut expected = vec!["timestamp", "level", "logger", "event"];
        let keys = self.0.iter().skip(expected.len());
        let optional = ["message", "trace_id", "span_id", "request_id"];
        expected.extend(
            keys.map(|(key, _)| key.as_str())
                .take_while(|key| optional.contains(key)),
        );
        expected
    }

    pub(super) fn own_keys(&self) -> Vec<&str> {
        let head = self.head_keys().len();
        self.0[head..].iter().map(|(key, _)| key.as_str()).collect()
    }

    /// The order of the schema, and what the declaration says of the event.
    #[track_caller]
    pub(super) fn check_schema(&self) {
        let keys: Vec<&str> = self.0.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(
            keys[..4],
            ["timestamp", "level", "logger", "event"],
            "{self:?}"
        );
        let is_subsequence = |keys: &[&str], of: &[&str]| {
            let mut of = of.iter();
            keys.iter().all(|key| of.any(|it| it == key))
        };
        let optional = ["message", "trace_id", "span_id", "request_id"];
        assert!(
            is_subsequence(&self.head_keys()[4..], &optional),
            "{self:?}"
        );
        self.check_values();
        // Of what an earlier server left, only the directory's name is known.
        let is_in_trace = keys.contains(&"trace_id") || self.event() == "workspace_left";
        assert!(
            !keys.contains(&"job_id") || is_in_trace,
            "a line of a job without its trace: {self:?}"
        );

        let decl = self.decl();
        assert_eq!(
            decl.state,
            State::Live,
            "told, but not declared as live: {self:?}"
        );
        assert!(is_subsequence(&self.own_keys(), decl.fields), "{self:?}");
        let logger = self.text("logger");
        let is_playbooks = !decl.playbook_logger.is_empty() && logger == decl.playbook_logger;
        assert!(is_playbooks || logger == decl.logger, "{self:?}");
        let level = self.text("level");
        let is_error = !decl.error_when.is_empty() && level == "error";
        assert!(is_error || level == decl.level_name(), "{self:?}");
    }

    #[track_caller]
    fn check_values(&self) {
        let shape: String = self
            .text("timestamp")
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{self:?}");
        let is_hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|it| b"0123456789abcdef".contains(&it))
        };
        for (key, value) in &self.0 {
            let text = value.as_str().unwrap_or_default();
            let is_right = match key.as_str() {
                "trace_id" => is_hex(text, 32),
                "span_id" | "request_id" => is_hex(text, 16),
                "job_id" => is_job_id(text),
                "pid"
                | "alerts"
                | "attempt"
                | "status_code"
                | "dropped"
                | "retry_count"
                | "consecutive_failures"
                | "bytes"
                | "bytes_freed"
                | "files"
                | "jobs"
                | "jobs_handed_back"
                | "jobs_at_once"
                | "found"
                | "removed"
                | "samples"
                | "added"
                | "logs_deleted"
                | "traces_deleted"
                | "workspaces_deleted"
                | "artifacts_deleted"
                | "pipelines"
                | "users"
                | "teams"
                | "starts"
                | "images_deleted" => value.is_u64(),
                "exit_code" => value.is_i64(),
                "with_keys" => value.is_boolean(),
                "value" => value.is_f64(),
                "duration_seconds" | "timeout_seconds" | "for_seconds" | "silent_seconds"
                | "restart_in_seconds" | "duration_ms" => {
                    value.as_f64().is_some_and(|it| it >= 0.0)
                }
                _ => !text.is_empty() && !text.contains('\n'),
            };
            assert!(is_right, "{key}: {self:?}");
        }
    }
}

/// Whether it is the id of a job: a UUID.
fn is_job_id(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_hexdigit() { 'x' } else { c })
        .collect();
    shape == "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
}
