//! The store's hooks, told as metrics.

use std::sync::Arc;
use std::time::Duration;

use danube_model::State;
use danube_signals::{DbOperation, Millis, Signals, SqlQuery};
use danube_store::{Live, Meter, Moved, Operation};
use danube_telemetry::tasks::Task;
use tokio::sync::Notify;

use crate::bell::Bell;
use crate::feed::Desk;
use crate::forges::Bells;
use crate::playbook_gauges::PlaybookGauges;
use crate::runs::Runs;
use crate::secrets::Vault;

/// Tells what the store does, and wakes the scheduler: whatever made a job
/// pending, its commit comes by here.
pub(crate) struct StoreMeter {
    pub(crate) signals: Signals,
    pub(crate) bell: Arc<Bell>,
    pub(crate) runs: Arc<Runs>,
    /// Forgets what a job was given when its lease ends.
    pub(crate) vault: Arc<Vault>,
    /// Wakes whoever sends webhooks.
    pub(crate) webhooks: Arc<Notify>,
    /// Wakes whoever tells forges how jobs stand, and whoever waits for room.
    pub(crate) forges: Bells,
    pub(crate) playbooks: PlaybookGauges,
    /// Hears what waits, where Redis carries it.
    pub(crate) feed: Arc<Desk>,
    /// The store's writer, as others see it.
    pub(crate) task: Task,
}

impl Meter for StoreMeter {
    fn query(&self, operation: Operation, elapsed: Duration) {
        let operation = match operation {
            Operation::Select => DbOperation::Select,
            Operation::Insert => DbOperation::Insert,
            Operation::Update => DbOperation::Update,
            Operation::Delete => DbOperation::Delete,
            Operation::Other => return,
        };
        self.signals.emit(SqlQuery {
            operation,
            duration_ms: Millis(elapsed),
        });
    }

    fn writer(&self, works: bool) {
        if works {
            self.task.beat();
        } else {
            self.task.rest();
        }
    }

    fn lock_waited(&self, waited: Duration) {
        self.signals.db_lock_wait_seconds_total.add_duration(waited);
    }

    fn connections(&self, in_use: i64) {
        self.signals.db_connections_active.set(in_use);
    }

    fn counts(&self, pending: u64, active: u64) {
        self.signals.job_queue_size.set_u64(pending);
        self.signals.active_jobs.set_u64(active);
        if pending > 0 {
            self.bell.ring();
        }
    }

    fn moved(&self, moved: &Moved) {
        self.runs.moved(moved);
        self.vault.moved(moved);
        self.playbooks.moved(moved);
        self.feed.moved(moved);
        if moved.from == Some(State::Pending) {
            self.forges.room.notify_one();
        }
    }

    fn webhook_due(&self) {
        self.webhooks.notify_one();
        self.forges.statuses.notify_one();
    }

    fn counted(&self, live: &Live) {
        self.runs.counted(live);
        self.vault.counted(live);
        self.playbooks.counted(live);
        self.feed.counted(live);
    }
}
