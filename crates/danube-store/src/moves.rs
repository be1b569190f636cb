//! The one place where a job's state changes.

use danube_model::{Cause, State, Timestamp};

use crate::rows::{Record, to_integer};
use crate::writer::Tx;
use crate::{StoreError, forges, webhooks};

/// Bytes of a reason or detail: a sentence or two. A worker that sends a whole
/// log as its reason must not bloat every list.
const TEXT_BYTES_MAX: usize = 4 * 1024;

/// Moves the job as the one table of moves says, writes every column of
/// `record` that can change, and adds the line to its history. Callers change
/// the other fields of `record` before.
pub(crate) fn apply(
    tx: &Tx<'_>,
    record: &mut Record,
    cause: &Cause,
    by: &str,
    detail: Option<&str>,
) -> Result<(), StoreError> {
    let from = record.job.state;
    let to = from.after(cause)?;
    record.job.state = to;
    record.moves += 1;
    if to.is_terminal() {
        record.job.finished_at = Some(tx.now);
    }
    record.job.reason = record.job.reason.take().map(|it| cut(&it).to_owned());
    write(tx, record)?;
    tx.connection
        .prepare_cached(
            "INSERT INTO transitions (seq, n, at, from_state, to_state, cause, attempt, by_whom, \
             detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute((
            record.seq,
            record.moves,
            tx.now.as_millis(),
            from.as_str(),
            to.as_str(),
            cause.as_str(),
            record.job.attempt,
            by,
            detail.map(cut),
        ))?;
    if to.is_terminal() {
        webhooks::job_ended(tx, record.seq)?;
        forges::job_ended(tx, record.seq)?;
    }
    tx.moved(record, Some(from));
    Ok(())
}

/// Every column that changes after the submit. One statement for all moves:
/// columns whose value stays cost nothing, since no index but that of the state
/// is on any of them.
fn write(tx: &Tx<'_>, record: &Record) -> Result<(), StoreError> {
    let job = &record.job;
    tx.connection
        .prepare_cached(
            "UPDATE jobs SET state = ?2, started_at = ?3, finished_at = ?4, attempt = ?5, \
             losses = ?6, fence = ?7, moves = ?8, worker_id = ?9, exit_code = ?10, reason = ?11, \
             log_bytes = ?12, log_complete = ?13, log_missing_bytes = ?14 WHERE seq = ?1",
        )?
        .execute((
            record.seq,
            job.state.as_str(),
            job.started_at.map(Timestamp::as_millis),
            job.finished_at.map(Timestamp::as_millis),
            job.attempt,
            record.losses,
            to_integer(record.fence),
            record.moves,
            &job.worker_id,
            job.exit_code,
            &job.reason,
            to_integer(job.log_bytes),
            job.log_complete,
            to_integer(job.log_missing_bytes),
        ))?;
    Ok(())
}

/// A job's first state, for the insert.
pub(crate) const FIRST: State = State::Pending;

fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(TEXT_BYTES_MAX))
        .rev()
        .find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "ü".repeat(TEXT_BYTES_MAX);
        assert_eq!(cut(&text).len(), TEXT_BYTES_MAX);
        let text = format!("a{text}");
        assert_eq!(cut(&text).len(), TEXT_BYTES_MAX - 1);
        assert_eq!(cut("short"), "short");
    }
}
