//! Gives, uses and takes back the right to run a job.

use danube_model::limits::ATTEMPTS_MAX;
use danube_model::{Attempt, Cause, FailReason, Job, State, Step, Timestamp};

use crate::rows::{self, Record};
use crate::writer::Tx;
use crate::{Assignment, Claimed, Claims, Ended, StoreError, jobs, moves};

pub(crate) fn claim(tx: &Tx<'_>, assignments: &[Assignment]) -> Result<Claims, StoreError> {
    let mut claims = Claims::default();
    for assignment in assignments {
        claim_one(tx, assignment, &mut claims)?;
    }
    Ok(claims)
}

fn claim_one(tx: &Tx<'_>, assignment: &Assignment, claims: &mut Claims) -> Result<(), StoreError> {
    let Some(mut record) = rows::find(tx.connection, assignment.job)? else {
        return Ok(());
    };
    if record.job.state != State::Pending {
        return Ok(());
    }
    let queued_at = queued_at(tx, &record)?;
    record.fence += 1;
    record.job.attempt += 1;
    record.job.worker_id = Some(assignment.worker.clone());
    record.job.started_at = None;
    // The reason stays: it says that an earlier attempt may have run.
    moves::apply(tx, &mut record, &Cause::Claimed, &assignment.worker, None)?;
    let order = match jobs::order(tx, &record) {
        Ok(order) => order,
        Err(error @ StoreError::Unreadable(_)) => {
            // It can never run, and must not keep the others waiting.
            let cause = Cause::Failed(FailReason::SetupFailed);
            let why = error.to_string();
            record.job.reason = Some(why.clone());
            moves::apply(tx, &mut record, &cause, &assignment.worker, Some(&why))?;
            claims.failed.push(record.job);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    claims.claimed.push(Claimed {
        attempt: Attempt {
            job: record.job.id,
            fence: record.fence,
            number: record.job.attempt,
        },
        worker: assignment.worker.clone(),
        retry_on_lost: record.retry_on_lost,
        team: record.turn.team,
        job: record.job,
        queued_at,
        order,
    });
    Ok(())
}

/// When a pending job came into the queue: with its last move, if it has any.
fn queued_at(tx: &Tx<'_>, record: &Record) -> Result<Timestamp, StoreError> {
    if record.moves == 0 {
        return Ok(record.job.created_at);
    }
    let millis: i64 = tx
        .connection
        .prepare_cached("SELECT at FROM transitions WHERE seq = ?1 AND n = ?2")?
        .query_row((record.seq, record.moves), |row| row.get(0))?;
    Ok(Timestamp::from_millis(millis))
}

/// `at` is when it was told: the commit comes some 50 ms later.
pub(crate) fn started(
    tx: &Tx<'_>,
    attempt: Attempt,
    (at, steps): (Timestamp, &[Step]),
) -> Result<(), StoreError> {
    let mut record = held(tx, attempt)?;
    start(tx, &mut record, at)?;
    put_steps(tx, &record, steps)
}

pub(crate) fn step(
    tx: &Tx<'_>,
    attempt: Attempt,
    index: usize,
    step: &Step,
) -> Result<(), StoreError> {
    let record = held(tx, attempt)?;
    rows::put_step(tx.connection, (record.seq, record.job.attempt, index), step)
}

pub(crate) fn finish(tx: &Tx<'_>, attempt: Attempt, ended: &Ended) -> Result<Job, StoreError> {
    let mut record = held(tx, attempt)?;
    let asked = jobs::cancel_reason(&record);
    let detail = match ended.cause {
        Cause::Failed(reason) => Some(reason.as_str().to_owned()),
        Cause::Stopped => asked.clone(),
        Cause::Succeeded | Cause::TimedOut => None,
        _ => {
            return Err(StoreError::Internal(format!(
                "{} doesn't end an attempt",
                ended.cause.as_str()
            )));
        }
    };
    if ended.cause == Cause::Succeeded && record.job.state == State::Scheduling {
        // `started` isn't urgent and may have been refused; it did start.
        start(tx, &mut record, tx.now)?;
    }
    record.job.exit_code = ended.exit_code;
    let reason = match (&ended.cause, asked, &ended.reason) {
        // The worker knows where it stopped the job, only the store who asked.
        (Cause::Stopped, Some(asked), Some(place)) => Some(format!("{asked} {place}")),
        (Cause::Stopped, asked @ Some(_), None) => asked,
        (_, _, reason) => reason.clone(),
    };
    record.job.reason = reason.or(record.job.reason);
    record.job.log_bytes = ended.log_bytes;
    record.job.log_complete = Some(ended.log_complete);
    record.job.log_missing_bytes = ended.log_missing_bytes;
    let by = worker(&record);
    moves::apply(tx, &mut record, &ended.cause, &by, detail.as_deref())?;
    if ended.steps.is_empty() {
        end_steps(tx, &record)?;
        return jobs::full(tx, record);
    }
    put_steps(tx, &record, &ended.steps)?;
    record.job.steps.clone_from(&ended.steps);
    Ok(record.job)
}

pub(crate) fn hand_back(
    tx: &Tx<'_>,
    attempt: Attempt,
    reason: &str,
    may_have_run: bool,
) -> Result<Job, StoreError> {
    let mut record = held(tx, attempt)?;
    // `started` isn't urgent and may have been refused: the worker knows better.
    let may_have_run = may_have_run || record.job.state == State::Running;
    let cause = if record.cancel_by.is_some() {
        record.job.reason = jobs::cancel_reason(&record);
        Cause::Stopped
    } else if may_have_run && !record.retry_on_lost {
        record.job.reason = Some(format!("{reason}; this job runs at most once"));
        Cause::LeaseLost {
            attempts_left: 0,
            cancel_asked: false,
        }
    } else {
        record.job.reason = Some(reason.to_owned());
        Cause::HandedBack
    };
    give_up(tx, record, &cause, reason)
}

pub(crate) fn lost(tx: &Tx<'_>, attempt: Attempt, reason: &str) -> Result<Job, StoreError> {
    let mut record = held(tx, attempt)?;
    record.losses += 1;
    let attempts_left = if record.retry_on_lost {
        ATTEMPTS_MAX.saturating_sub(record.losses)
    } else {
        0
    };
    let cause = Cause::LeaseLost {
        attempts_left,
        cancel_asked: record.cancel_by.is_some(),
    };
    record.job.reason = Some(match (jobs::cancel_reason(&record), record.losses) {
        (Some(asked), _) => format!("{asked} ({reason})"),
        (None, _) if !record.retry_on_lost => {
            format!("worker lost ({reason}); this job runs at most once")
        }
        (None, 1) => format!("worker lost once ({reason})"),
        (None, losses) => format!("worker lost {losses} times ({reason})"),
    });
    give_up(tx, record, &cause, reason)
}

fn give_up(
    tx: &Tx<'_>,
    mut record: Record,
    cause: &Cause,
    detail: &str,
) -> Result<Job, StoreError> {
    let by = worker(&record);
    moves::apply(tx, &mut record, cause, &by, Some(detail))?;
    end_steps(tx, &record)?;
    jobs::full(tx, record)
}

/// The record of the job, if the attempt still holds it.
pub(crate) fn held(tx: &Tx<'_>, attempt: Attempt) -> Result<Record, StoreError> {
    let record = rows::find(tx.connection, attempt.job)?.ok_or(StoreError::NoJob(attempt.job))?;
    if record.fence == attempt.fence && record.job.state.is_leased() {
        Ok(record)
    } else {
        Err(StoreError::Fenced {
            job: attempt.job,
            fence: attempt.fence,
            state: record.job.state,
        })
    }
}

/// The first step begins. Twice is once, so that a worker may repeat itself.
fn start(tx: &Tx<'_>, record: &mut Record, at: Timestamp) -> Result<(), StoreError> {
    if record.job.state == State::Running {
        return Ok(());
    }
    record.job.started_at = Some(at);
    let by = worker(record);
    moves::apply(tx, record, &Cause::Started, &by, None)
}

fn worker(record: &Record) -> String {
    record.job.worker_id.clone().unwrap_or_default()
}

fn put_steps(tx: &Tx<'_>, record: &Record, steps: &[Step]) -> Result<(), StoreError> {
    for (position, step) in steps.iter().enumerate() {
        rows::put_step(
            tx.connection,
            (record.seq, record.job.attempt, position),
            step,
        )?;
    }
    Ok(())
}

/// Ends the steps of an attempt whose worker can't say how they ended.
fn end_steps(tx: &Tx<'_>, record: &Record) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached(
            "UPDATE steps SET finished_at = iif(status = 'running', ?3, NULL), \
             status = iif(status = 'running', 'cancelled', 'skipped') \
             WHERE seq = ?1 AND attempt = ?2 AND status IN ('running', 'pending')",
        )?
        .execute((record.seq, record.job.attempt, tx.now.as_millis()))?;
    Ok(())
}
