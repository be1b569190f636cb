//! What a playbook did: its events one by one, and the picture that they add up to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Events of one attempt that are kept: a hundred tasks on a thousand hosts. What comes
/// after them is counted.
pub const EVENTS_MAX: u64 = 100_000;

/// Hosts of one attempt that have counts of their own; the others are counted together.
pub const HOSTS_MAX: usize = 10_000;

/// Bytes of a name (play, task, host) or message in an event.
pub const EVENT_TEXT_BYTES_MAX: usize = 1_024;

/// How a task ended on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostStatus {
    /// Nothing had to change.
    Ok,
    /// Something was changed.
    Changed,
    /// It failed, and with it the host.
    Failed,
    /// It failed, and the playbook says that it may.
    Ignored,
    /// The host couldn't be reached.
    Unreachable,
    /// It wasn't run there.
    Skipped,
}

impl HostStatus {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Changed => "changed",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
            Self::Unreachable => "unreachable",
            Self::Skipped => "skipped",
        }
    }
}

/// Something that a playbook did. Texts are redacted before they get here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    /// A play begins.
    PlayStarted {
        /// Its name.
        play: String,
    },
    /// A task begins.
    TaskStarted {
        /// Its name.
        task: String,
        /// Where it stands: file and line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// It is a handler.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        handler: bool,
    },
    /// A task has ended on a host.
    HostResult {
        /// Which: the number of its `TaskStarted` among those of the attempt, from 0.
        task: u64,
        /// The host.
        host: String,
        /// How.
        status: HostStatus,
        /// The task's name, where something went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// What went wrong, in short.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// The end: the counts of each host, as Ansible sums them up.
    Summary {
        /// By host.
        hosts: BTreeMap<String, Counts>,
    },
}

/// An event with its number and time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Counts from 0 in each attempt, without gaps.
    pub n: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: RunEvent,
}

/// How often tasks ended how on one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Went well; what was changed is among them, as Ansible counts.
    pub ok: u64,
    /// Changed something.
    pub changed: u64,
    /// Failed.
    pub failed: u64,
    /// Couldn't reach it.
    pub unreachable: u64,
    /// Weren't run.
    pub skipped: u64,
    /// Failed, and a `rescue` took over.
    pub rescued: u64,
    /// Failed, which they may.
    pub ignored: u64,
}

impl Counts {
    fn add(&mut self, status: HostStatus) {
        match status {
            HostStatus::Ok => self.ok += 1,
            HostStatus::Changed => {
                self.ok += 1;
                self.changed += 1;
            }
            HostStatus::Failed => self.failed += 1,
            HostStatus::Ignored => {
                self.ok += 1;
                self.ignored += 1;
            }
            HostStatus::Unreachable => self.unreachable += 1,
            HostStatus::Skipped => self.skipped += 1,
        }
    }

    /// How the host as a whole does: the worst that happened there.
    #[must_use]
    pub const fn status(&self) -> HostStatus {
        match self {
            Self { unreachable, .. } if *unreachable > 0 => HostStatus::Unreachable,
            Self { failed, .. } if *failed > 0 => HostStatus::Failed,
            Self { changed, .. } if *changed > 0 => HostStatus::Changed,
            Self { ok, .. } if *ok > 0 => HostStatus::Ok,
            _ => HostStatus::Skipped,
        }
    }
}

/// The first thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstFailure {
    /// On which host.
    pub host: String,
    /// In which task.
    pub task: String,
    /// `failed` or `unreachable`.
    pub status: HostStatus,
    /// What, in short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What all events so far add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The commit of its source, where that is a git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The play that began last.
    pub current_play: Option<String>,
    /// The task that began last.
    pub current_task: Option<String>,
    /// Plays that began.
    pub plays: u64,
    /// Tasks that began.
    pub tasks: u64,
    /// Each host's counts.
    pub hosts: BTreeMap<String, Counts>,
    /// Results of hosts that have no counts of their own.
    pub results_of_others: u64,
    /// What went wrong first.
    pub first_failure: Option<FirstFailure>,
    /// Events that aren't kept.
    pub events_left_out: u64,
    /// The playbook has come to its end.
    pub is_over: bool,
    /// The latest failure of each host, with how many there were before: only while it
    /// runs, to tell at its end which of them wasn't rescued.
    #[serde(skip)]
    failures: BTreeMap<String, (u64, FirstFailure)>,
}

impl Progress {
    /// Takes in what happened next.
    pub fn add(&mut self, event: &RunEvent) {
        match event {
            RunEvent::PlayStarted { play } => {
                self.plays += 1;
                self.current_play = Some(play.clone());
                self.current_task = None;
            }
            RunEvent::TaskStarted { task, .. } => {
                self.tasks += 1;
                self.current_task = Some(task.clone());
            }
            RunEvent::HostResult {
                host,
                status,
                name,
                message,
                ..
            } => self.result(host, *status, (name.as_deref(), message.as_deref())),
            RunEvent::Summary { hosts } => {
                let kept = hosts.iter().take(HOSTS_MAX);
                self.hosts = kept.map(|(host, counts)| (host.clone(), *counts)).collect();
                self.is_over = true;
                self.first_failure = self.unrescued();
            }
        }
    }

    fn result(
        &mut self,
        host: &str,
        status: HostStatus,
        (task, message): (Option<&str>, Option<&str>),
    ) {
        if let Some(counts) = self.hosts.get_mut(host) {
            counts.add(status);
        } else if self.hosts.len() < HOSTS_MAX {
            self.hosts.entry(host.to_owned()).or_default().add(status);
        } else {
            self.results_of_others += 1;
        }
        if !matches!(status, HostStatus::Failed | HostStatus::Unreachable) {
            return;
        }
        let failure = FirstFailure {
            host: host.to_owned(),
            task: task.unwrap_or_default().to_owned(),
            status,
            message: message.map(str::to_owned),
        };
        let before = self.failures.len() as u64;
        if self.first_failure.is_none() {
            self.first_failure = Some(failure.clone());
        }
        if self.failures.len() < HOSTS_MAX || self.failures.contains_key(host) {
            self.failures.insert(host.to_owned(), (before, failure));
        }
    }

    /// The first failure that ended a host: of its failures the last, because a `rescue`
    /// took over after those before.
    fn unrescued(&self) -> Option<FirstFailure> {
        let has_failed = |host: &str| {
            let counts = self.hosts.get(host);
            counts.is_some_and(|it| it.failed > 0 || it.unreachable > 0)
        };
        let failures = self
            .failures
            .values()
            .filter(|(_, it)| has_failed(&it.host));
        let first = failures.min_by_key(|(before, _)| *before);
        first.map(|(_, it)| it.clone())
    }

    /// How many hosts do how, by the worst that happened on each.
    #[must_use]
    pub fn hosts_by_status(&self, status: HostStatus) -> u64 {
        let hosts = self.hosts.values().filter(|it| it.status() == status);
        hosts.count() as u64
    }
}

/// A text cut to what an event may hold.
#[must_use]
pub fn event_text(text: &str) -> String {
    if text.len() <= EVENT_TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = (0..=EVENT_TEXT_BYTES_MAX - '…'.len_utf8())
        .rev()
        .find(|&at| text.is_char_boundary(at));
    format!("{}…", &text[..end.unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(host: &str, status: HostStatus) -> RunEvent {
        RunEvent::HostResult {
            task: 0,
            host: host.to_owned(),
            status,
            name: Some("install".to_owned()),
            message: None,
        }
    }

    #[test]
    fn events_add_up_to_what_each_host_did_and_what_failed_first() {
        let mut progress = Progress::default();
        for event in [
            RunEvent::PlayStarted {
                play: "web".to_owned(),
            },
            RunEvent::TaskStarted {
                task: "install".to_owned(),
                path: None,
                handler: false,
            },
            result("a", HostStatus::Changed),
            result("b", HostStatus::Unreachable),
            result("c", HostStatus::Skipped),
            RunEvent::TaskStarted {
                task: "start".to_owned(),
                path: None,
                handler: false,
            },
            result("a", HostStatus::Failed),
        ] {
            progress.add(&event);
        }
        let first = progress.first_failure.clone().unwrap();
        assert_eq!((&*first.host, &*first.task), ("b", "install"));
        assert_eq!(progress.current_task.as_deref(), Some("start"));
        let hosts = [
            HostStatus::Ok,
            HostStatus::Failed,
            HostStatus::Unreachable,
            HostStatus::Skipped,
        ];
        let hosts = hosts.map(|it| progress.hosts_by_status(it));
        assert_eq!(hosts, [0, 1, 1, 1]);
        // Ansible's own counts are the last word: the failure was rescued.
        let hosts = BTreeMap::from([(
            "a".to_owned(),
            Counts {
                ok: 2,
                changed: 1,
                rescued: 1,
                ..Counts::default()
            },
        )]);
        progress.add(&RunEvent::Summary { hosts });
        assert!(progress.is_over);
        assert_eq!(progress.hosts["a"].status(), HostStatus::Changed);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = event_text(&"ü".repeat(EVENT_TEXT_BYTES_MAX));
        assert!(text.len() <= EVENT_TEXT_BYTES_MAX && text.ends_with('…'));
    }

    #[test]
    fn a_record_is_one_flat_object() {
        let record = RunRecord {
            n: 3,
            at: Timestamp::from_millis(0),
            event: result("a", HostStatus::Ok),
        };
        let text = serde_json::to_string(&record).unwrap();
        assert!(text.contains("\"event\":\"host_result\""), "{text}");
        assert_eq!(serde_json::from_str::<RunRecord>(&text).unwrap(), record);
    }
}
