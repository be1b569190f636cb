//! What a playbook job shows beside what every job does.

use danube_model::playbook::{Counts, FirstFailure, HostStatus, Progress, RunRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a playbook has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgressView {
    /// The play that began last.
    pub current_play: Option<String>,
    /// The task that began last.
    pub current_task: Option<String>,
    /// Plays that began.
    pub plays: u64,
    /// Tasks that began.
    pub tasks: u64,
    /// How many hosts do how.
    pub hosts: HostTotals,
    /// The first thing that went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<FailureView>,
    /// Events that weren't kept, because there were too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub events_left_out: u64,
}

/// Hosts by the worst that happened on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostTotals {
    /// Nothing had to change.
    pub ok: u64,
    /// Something was changed.
    pub changed: u64,
    /// A task failed.
    pub failed: u64,
    /// Not reached.
    pub unreachable: u64,
    /// Nothing was run there.
    pub skipped: u64,
}

/// What went wrong first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureView {
    /// On which host.
    pub host: String,
    /// In which task.
    pub task: String,
    /// `failed` or `unreachable`.
    pub status: String,
    /// What, in short.
    pub message: Option<String>,
}

/// What a playbook did on one host: how many tasks ended how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostView {
    /// Its name in the inventory.
    pub host: String,
    /// The worst that happened there: `ok changed failed unreachable skipped`.
    pub status: String,
    /// Went well, the changed ones included.
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

/// What a playbook did, one thing after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunEventList {
    /// Which attempt they belong to.
    pub attempt: u32,
    /// `n` (from 0, without gaps), `at`, `event` (`play_started`, `task_started`,
    /// `host_result`, `summary`) and what belongs to it.
    #[schema(value_type = Vec<Object>)]
    pub events: Vec<RunRecord>,
    /// Give it as `from` to read on; null when nothing will follow.
    pub next: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl From<&Progress> for ProgressView {
    fn from(it: &Progress) -> Self {
        Self {
            current_play: it.current_play.clone(),
            current_task: it.current_task.clone(),
            plays: it.plays,
            tasks: it.tasks,
            hosts: HostTotals {
                ok: it.hosts_by_status(HostStatus::Ok),
                changed: it.hosts_by_status(HostStatus::Changed),
                failed: it.hosts_by_status(HostStatus::Failed),
                unreachable: it.hosts_by_status(HostStatus::Unreachable),
                skipped: it.hosts_by_status(HostStatus::Skipped),
            },
            first_failure: it.first_failure.clone().map(FailureView::from),
            events_left_out: it.events_left_out,
        }
    }
}

impl From<FirstFailure> for FailureView {
    fn from(it: FirstFailure) -> Self {
        Self {
            host: it.host,
            task: it.task,
            status: it.status.as_str().to_owned(),
            message: it.message,
        }
    }
}

impl HostView {
    /// The hosts that have counts of their own.
    #[must_use]
    pub fn all(progress: &Progress) -> Vec<Self> {
        let hosts = progress.hosts.iter();
        hosts
            .map(|(host, counts)| Self::new(host, *counts))
            .collect()
    }

    fn new(host: &str, counts: Counts) -> Self {
        let Counts {
            ok,
            changed,
            failed,
            unreachable,
            skipped,
            rescued,
            ignored,
        } = counts;
        Self {
            host: host.to_owned(),
            status: counts.status().as_str().to_owned(),
            ok,
            changed,
            failed,
            unreachable,
            skipped,
            rescued,
            ignored,
        }
    }
}
