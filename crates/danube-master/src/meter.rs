//! The store's hooks, told as metrics.

use std::time::Duration;

use danube_signals::{DbOperation, Millis, Signals, SqlQuery};
use danube_store::{Meter, Operation};

/// Tells what the store does.
pub(crate) struct StoreMeter(pub(crate) Signals);

impl Meter for StoreMeter {
    fn query(&self, operation: Operation, elapsed: Duration) {
        let operation = match operation {
            Operation::Select => DbOperation::Select,
            Operation::Insert => DbOperation::Insert,
            Operation::Update => DbOperation::Update,
            Operation::Delete => DbOperation::Delete,
            Operation::Other => return,
        };
        self.0.emit(SqlQuery {
            operation,
            duration_ms: Millis(elapsed),
        });
    }

    fn lock_waited(&self, waited: Duration) {
        self.0.db_lock_wait_seconds_total.add_duration(waited);
    }

    fn connections(&self, in_use: i64) {
        self.0.db_connections_active.set(in_use);
    }

    fn counts(&self, pending: u64, active: u64) {
        self.0.job_queue_size.set_u64(pending);
        self.0.active_jobs.set_u64(active);
    }
}
