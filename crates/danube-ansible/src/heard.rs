//! One line of what the callback plugin tells. It comes out of the playbook's own process,
//! so it may hold anything.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use danube_model::Timestamp;
use danube_model::playbook::{Counts, HOSTS_MAX, HostStatus, RunEvent, event_text};
use serde::Deserialize;
use zeroize::Zeroizing;

/// Something that the plugin told. Texts aren't redacted yet.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// The playbook did something.
    Event {
        /// When, by the clock of Ansible's machine.
        at: Timestamp,
        /// What.
        event: RunEvent,
    },
    /// Values that must be in no output. Ansible waits until they are known.
    Secrets(Vec<Zeroizing<Vec<u8>>>),
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Play {
        at: f64,
        name: String,
    },
    Task {
        at: f64,
        name: String,
        path: String,
        handler: bool,
    },
    Result {
        at: f64,
        task: u64,
        host: String,
        status: HostStatus,
        name: Option<String>,
        message: Option<String>,
    },
    Stats {
        at: f64,
        hosts: BTreeMap<String, Counts>,
    },
    Secret {
        values: Vec<Zeroizing<String>>,
    },
}

/// Reads a line; none when it isn't one of ours.
pub(crate) fn read(line: &[u8]) -> Option<Heard> {
    let (at, event) = match serde_json::from_slice(line).ok()? {
        Line::Play { at, name } => (
            at,
            RunEvent::PlayStarted {
                play: event_text(&name),
            },
        ),
        Line::Task {
            at,
            name,
            path,
            handler,
        } => (
            at,
            RunEvent::TaskStarted {
                task: event_text(&name),
                path: (!path.is_empty()).then(|| event_text(&path)),
                handler,
            },
        ),
        Line::Result {
            at,
            task,
            host,
            status,
            name,
            message,
        } => (
            at,
            RunEvent::HostResult {
                task,
                host: event_text(&host),
                status,
                name: name.as_deref().map(event_text),
                message: message.as_deref().map(event_text),
            },
        ),
        Line::Stats { at, hosts } => {
            let hosts = hosts.into_iter().take(HOSTS_MAX);
            let hosts = hosts.map(|(host, counts)| (event_text(&host), counts));
            (
                at,
                RunEvent::Summary {
                    hosts: hosts.collect(),
                },
            )
        }
        Line::Secret { values } => {
            let values = values.iter().filter_map(|it| STANDARD.decode(&**it).ok());
            return Some(Heard::Secrets(values.map(Zeroizing::new).collect()));
        }
    };
    Some(Heard::Event {
        at: time(at),
        event,
    })
}

/// A moment as Python counts it: seconds since 1970.
fn time(seconds: f64) -> Timestamp {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a conversion from float saturates, and no clock is near the end"
    )]
    Timestamp::from_millis((seconds * 1_000.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_is_read() {
        let line = br#"{"kind": "result", "at": 1.5, "task": 3, "host": "a", "status": "failed", "name": "t", "message": "no"}"#;
        let expected = Heard::Event {
            at: Timestamp::from_millis(1_500),
            event: RunEvent::HostResult {
                task: 3,
                host: "a".to_owned(),
                status: HostStatus::Failed,
                name: Some("t".to_owned()),
                message: Some("no".to_owned()),
            },
        };
        assert_eq!(read(line), Some(expected));
        let secret = br#"{"kind": "secret", "values": ["aHVzaC1odXNo", "not base64"]}"#;
        let expected = Heard::Secrets(vec![Zeroizing::new(b"hush-hush".to_vec())]);
        assert_eq!(read(secret), Some(expected));
        let stats = br#"{"kind":"stats","at":1,"hosts":{"a":{"ok":2,"failed":0,"new":1}}}"#;
        assert!(matches!(
            read(stats),
            Some(Heard::Event {
                event: RunEvent::Summary { .. },
                ..
            })
        ));
    }

    #[test]
    fn what_is_no_line_of_ours_is_passed_over() {
        for line in [
            &b""[..],
            b"{}",
            b"nonsense",
            b"{\"kind\": \"result\"}",
            b"{\"kind\":\"play\",\"at\":1e308,\"name\":7}",
            &[0xff, 0xfe],
        ] {
            assert_eq!(read(line), None, "{}", String::from_utf8_lossy(line));
        }
        // A clock that is out of its mind gives a time that is, and nothing worse.
        assert!(read(b"{\"kind\":\"play\",\"at\":1e308,\"name\":\"p\"}").is_some());
    }
}
