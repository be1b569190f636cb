//! Whether one more job may wait, and which older ones it takes the place of.

use danube_model::spec::{Queueing, Superseded};
use danube_model::{Cause, JobId, Order, State};

use crate::jobs::{self, OLDER};
use crate::rows::{self, Record};
use crate::writer::Tx;
use crate::{CancelOutcome, StoreError, moves};

/// Jobs that one submit cancels at most: a bound on its transaction. Each submit cancels all
/// before it, so only retries can be as many.
const SUPERSEDED_MAX: i64 = 1_000;

/// What a job is about, as it is stored: whoever reads the database doesn't learn parameters
/// from it.
pub(crate) fn subject(tx: &Tx<'_>, order: &Order, about: &str) -> [u8; 32] {
    let mut parts = vec![order.task.name().as_bytes(), about.as_bytes()];
    for (name, value) in &order.parameters {
        parts.extend([name.as_bytes(), value.as_bytes()]);
    }
    tx.shared.sealer.hash("subject of a job", &parts)
}

/// The rules of the order's pipeline.
pub(crate) fn rules(order: &Order) -> Queueing {
    let pipeline = order.task.pipeline();
    pipeline.map(|it| it.queueing.clone()).unwrap_or_default()
}

/// The older jobs about the same that a new one cancels.
pub(crate) fn older(
    tx: &Tx<'_>,
    subject: Option<&[u8; 32]>,
    which: Superseded,
) -> Result<Vec<Record>, StoreError> {
    let Some(subject) = subject.filter(|_| which != Superseded::None) else {
        return Ok(Vec::new());
    };
    let mut statement = tx.connection.prepare_cached(OLDER)?;
    let rows = statement.query_map((subject, SUPERSEDED_MAX), rows::record)?;
    let older = rows.collect::<Result<Vec<Record>, _>>()?;
    let is_meant = |it: &Record| match it.job.state {
        State::Pending => true,
        _ => which == Superseded::All && it.cancel_by.is_none(),
    };
    Ok(older.into_iter().filter(is_meant).collect())
}

/// Refuses one job more than may wait, when `older` ones go for it.
pub(crate) fn check(
    tx: &Tx<'_>,
    (pipeline, max): (&str, Option<u32>),
    older: &[Record],
) -> Result<(), StoreError> {
    let leave = older.iter().filter(|it| it.job.state == State::Pending);
    let leave = leave.count() as u64;
    let all = tx.shared.options.pending_max;
    if tx.pending().saturating_sub(leave) >= all {
        let pipeline = None;
        return Err(StoreError::QueueFull { pipeline, max: all });
    }
    match max.map(u64::from) {
        Some(max) if tx.pending_of(pipeline).saturating_sub(leave) >= max => {
            let pipeline = Some(pipeline.to_owned());
            Err(StoreError::QueueFull { pipeline, max })
        }
        _ => Ok(()),
    }
}

/// Cancels the older jobs for the new one: what waits ends, what runs is to be stopped.
pub(crate) fn supersede(
    tx: &Tx<'_>,
    older: Vec<Record>,
    (new, by): (JobId, &str),
) -> Result<Vec<CancelOutcome>, StoreError> {
    let mut outcomes = Vec::with_capacity(older.len());
    for mut record in older {
        tx.connection
            .prepare_cached("UPDATE jobs SET superseded_by = ?2, cancel_by = ?3 WHERE seq = ?1")?
            .execute((record.seq, new.as_bytes(), by))?;
        record.superseded_by = Some(new);
        record.cancel_by = Some(by.to_owned());
        record.job.cancelled_by = Some(by.to_owned());
        if record.job.state == State::Pending {
            record.job.reason = jobs::cancel_reason(&record);
            let detail = record.job.reason.clone();
            moves::apply(tx, &mut record, &Cause::CancelAsked, by, detail.as_deref())?;
            outcomes.push(CancelOutcome::Cancelled(jobs::full(tx, record)?));
        } else {
            record.job.cancel_asked = true;
            outcomes.push(CancelOutcome::Asked(record.job));
        }
    }
    Ok(outcomes)
}
