//! Webhooks: what is owed to whom, how it went, and the secrets that sign it.
//!
//! A row is made with the job and becomes due in the transaction that ends it, so that a
//! crash can't come between. Who sends is the master; it says how each try went.

mod queue;
mod secrets;
mod types;

use std::time::Duration;

use danube_model::limits::PAGE_JOBS_MAX;
use danube_model::{JobId, Page, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use crate::keys::patterns;
use crate::list::{page_of, read_cursor};
use crate::rows::{self, count, named, optional_time, time};
use crate::seal::Sealer;
use crate::writer::Tx;
use crate::{Pending, Sight, Store, StoreError};

pub use queue::Wanted;
pub(crate) use secrets::reseal_secrets;
pub use secrets::{OLD_SECRETS_MAX, ROTATION_OVERLAP, SECRET_BYTES};
pub use types::{
    AfterTry, Callback, DueWebhook, Outbox, ReplayOutcome, ShowOutcome, ShownSecret,
    SigningSecrets, Tried, Webhook, WebhookAttempt, WebhookState,
};

/// Attempts of one webhook that are kept: all of its first round, and those of some replays.
const ATTEMPTS_KEPT: i64 = 50;

/// Expired webhooks that are deleted in one go.
const PURGED_AT_ONCE: i64 = 256;

/// The purpose under which addresses are sealed.
const ADDRESS: &str = "webhook address";

/// The columns that [`webhook`] reads, in its order.
macro_rules! columns {
    () => {
        "id, owner, shown, webhooks.state, attempts, ended_at, due_at, settled_at"
    };
}

/// Webhooks, written.
impl Store {
    /// An attempt was made.
    pub fn webhook_tried(&self, tried: Tried) -> Pending<()> {
        self.urgent(move |tx| tell_tried(tx, &tried))
    }

    /// Sends a webhook again, or a pending one at once.
    pub fn replay_webhook(&self, job: JobId) -> Pending<ReplayOutcome> {
        self.urgent(move |tx| replay(tx, job))
    }

    /// Forgets some of what was settled before that time; how many.
    pub fn purge_webhooks(&self, before: Timestamp) -> Pending<usize> {
        self.urgent(move |tx| purge(tx, before))
    }
}

/// Webhooks, read.
impl Store {
    /// When the next webhook after `now` is due, if one waits.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn next_webhook_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.inner.readers.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT min(due_at) FROM webhooks WHERE due_at > ?1")?;
            Ok(statement.query_row([now.as_millis()], |row| optional_time(row, 0))?)
        })
    }

    /// What waits to be delivered.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn webhook_outbox(&self) -> Result<Outbox, StoreError> {
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT count(*), min(due_at), min(ended_at) FROM webhooks WHERE due_at IS NOT NULL",
            )?;
            Ok(statement.query_row([], |row| {
                Ok(Outbox {
                    waiting: count(row, 0)?,
                    oldest_due_at: optional_time(row, 1)?,
                    oldest_ended_at: optional_time(row, 2)?,
                })
            })?)
        })
    }

    /// The whole address of a webhook; none when it is gone or can't be unsealed.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn webhook_address(&self, job: JobId) -> Result<Option<String>, StoreError> {
        let sealed: Option<Vec<u8>> = self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT webhooks.sealed FROM webhooks JOIN jobs USING (seq) WHERE id = ?1",
            )?;
            Ok(statement
                .query_row([job.as_bytes()], |row| row.get(0))
                .optional()?)
        })?;
        let sealer = &self.inner.shared.sealer;
        let plain = sealed.and_then(|it| sealer.unseal(ADDRESS, job.as_bytes(), &it));
        Ok(plain.and_then(|it| String::from_utf8(it).ok()))
    }

    /// The webhooks of ended jobs, newest job first; all of them, or those of one owner, of
    /// the pipelines that one of the patterns fits, or in one state.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`] for a cursor that isn't ours.
    pub fn webhooks(
        &self,
        (owner, sight, state): (Option<&str>, &Sight, Option<WebhookState>),
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<Webhook>, StoreError> {
        const SQL: &str = concat!(
            "SELECT webhooks.seq, ",
            columns!(),
            " FROM webhooks JOIN jobs USING (seq) WHERE webhooks.seq < :below \
             AND webhooks.state <> 'waiting' AND (:owner IS NULL OR owner = :owner) \
             AND (:state IS NULL OR webhooks.state = :state) \
             AND (:sight IS NULL OR EXISTS (SELECT 1 FROM json_each(:sight) \
             WHERE jobs.pipeline GLOB value)) \
             AND (:hidden IS NULL OR jobs.pipeline NOT IN (SELECT value FROM json_each(:hidden))) \
             ORDER BY webhooks.seq DESC LIMIT :limit"
        );
        let (fitting, hidden) = match sight {
            Sight::All => (None, None),
            Sight::Patterns(all) => (Some(patterns(all)), None),
            // What they see of their own; `owner` keeps those of others out.
            Sight::Member(member) => {
                let fitting = member.patterns.as_ref().map(|it| patterns(it));
                let mut hidden = member.declared.clone();
                hidden.retain(|it| !member.pipelines.contains(it));
                (fitting, Some(patterns(&hidden)))
            }
        };
        let sealer = &self.inner.shared.sealer;
        let below = match cursor {
            Some(text) => read_cursor(sealer, text).ok_or(StoreError::BadCursor)?,
            None => i64::MAX,
        };
        let limit = limit.clamp(1, PAGE_JOBS_MAX);
        let items: Vec<(i64, Webhook)> = self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(SQL)?;
            let values = named_params! {
                ":below": below,
                ":owner": owner,
                ":sight": fitting,
                ":hidden": hidden,
                ":state": state.map(WebhookState::as_str),
                ":limit": i64::try_from(limit + 1).unwrap_or(i64::MAX),
            };
            let found = statement.query_map(values, |row| Ok((row.get(0)?, webhook(row, 1)?)))?;
            Ok(found.collect::<Result<_, _>>()?)
        })?;
        Ok(page_of(sealer, items, limit))
    }

    /// The webhook of an ended job, with its attempts as far as they are kept, oldest first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn webhook(
        &self,
        job: JobId,
    ) -> Result<Option<(Webhook, Vec<WebhookAttempt>)>, StoreError> {
        self.inner.readers.read(|connection| {
            let Some(webhook) = find(connection, job)? else {
                return Ok(None);
            };
            let mut statement = connection.prepare_cached(
                "SELECT n, at, took_ms, status, error FROM webhook_attempts \
                 WHERE seq = (SELECT seq FROM jobs WHERE id = ?1) ORDER BY n",
            )?;
            let attempts = statement.query_map([job.as_bytes()], |row| {
                Ok(WebhookAttempt {
                    number: row.get(0)?,
                    at: time(row, 1)?,
                    took: Duration::from_millis(count(row, 2)?),
                    status: row.get(3)?,
                    error: row.get(4)?,
                })
            })?;
            Ok(Some((webhook, attempts.collect::<Result<_, _>>()?)))
        })
    }
}

fn webhook(row: &Row<'_>, first: usize) -> rusqlite::Result<Webhook> {
    Ok(Webhook {
        job: rows::id(row, first)?,
        owner: row.get(first + 1)?,
        shown: row.get(first + 2)?,
        state: named(row, first + 3, WebhookState::parse)?,
        attempts: row.get(first + 4)?,
        ended_at: time(row, first + 5)?,
        due_at: optional_time(row, first + 6)?,
        settled_at: optional_time(row, first + 7)?,
    })
}

fn find(connection: &Connection, job: JobId) -> Result<Option<Webhook>, StoreError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM webhooks JOIN jobs USING (seq) WHERE id = ?1 AND webhooks.state <> 'waiting'"
    );
    let mut statement = connection.prepare_cached(SQL)?;
    Ok(statement
        .query_row([job.as_bytes()], |row| webhook(row, 0))
        .optional()?)
}

/// A new job's webhook, which waits for its end.
pub(crate) fn insert(
    tx: &Tx<'_>,
    (seq, owner): (i64, &str),
    callback: &Callback,
    sealed: &[u8],
) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached(
            "INSERT INTO webhooks (seq, owner, shown, origin, sealed, state, attempts, round) \
             VALUES (?1, ?2, ?3, ?4, ?5, 'waiting', 0, 0)",
        )?
        .execute((seq, owner, &callback.shown, &callback.origin, sealed))?;
    Ok(())
}

/// Seals the address of a new job's webhook.
pub(crate) fn seal(sealer: &Sealer, job: JobId, url: &str) -> Result<Vec<u8>, StoreError> {
    sealer.seal(ADDRESS, job.as_bytes(), url.as_bytes())
}

/// Seals an address anew; none when no key opens it.
pub(crate) fn reseal(
    sealer: &Sealer,
    job: JobId,
    sealed: &[u8],
) -> Option<Result<Vec<u8>, StoreError>> {
    let plain = sealer.unseal(ADDRESS, job.as_bytes(), sealed)?;
    Some(sealer.seal(ADDRESS, job.as_bytes(), &plain))
}

/// The retry of a job is told where the job was.
pub(crate) fn copy(
    tx: &Tx<'_>,
    (old, old_seq): (JobId, i64),
    (new, new_seq): (JobId, i64),
) -> Result<(), StoreError> {
    let found: Option<(String, String, String, Vec<u8>)> = tx
        .connection
        .prepare_cached("SELECT owner, shown, origin, sealed FROM webhooks WHERE seq = ?1")?
        .query_row([old_seq], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((owner, shown, origin, sealed)) = found else {
        return Ok(());
    };
    let sealer = &tx.shared.sealer;
    let url = sealer
        .unseal(ADDRESS, old.as_bytes(), &sealed)
        .and_then(|it| String::from_utf8(it).ok())
        .ok_or(StoreError::Unreadable(old))?;
    let sealed = seal(sealer, new, &url)?;
    let callback = Callback { url, shown, origin };
    insert(tx, (new_seq, &owner), &callback, &sealed)
}

/// The job ended: its webhook, if it has one, is due in the same transaction.
pub(crate) fn job_ended(tx: &Tx<'_>, seq: i64) -> Result<(), StoreError> {
    let origin: Option<String> = tx
        .connection
        .prepare_cached(
            "UPDATE webhooks SET state = 'pending', ended_at = ?2, due_at = ?2 \
             WHERE seq = ?1 AND state = 'waiting' RETURNING origin",
        )?
        .query_row((seq, tx.now.as_millis()), |row| row.get(0))
        .optional()?;
    if let Some(origin) = origin {
        queue::joined(tx, &origin)?;
        tx.webhook_due();
    }
    Ok(())
}

/// An attempt counts whatever happened meanwhile; what follows from it only if nobody has
/// asked to send the webhook anew since it began: that wish stands.
fn tell_tried(tx: &Tx<'_>, tried: &Tried) -> Result<(), StoreError> {
    let (state, due_at, settled_at) = match tried.next {
        AfterTry::Delivered => (WebhookState::Delivered, None, Some(tx.now)),
        AfterTry::Failed => (WebhookState::Failed, None, Some(tx.now)),
        AfterTry::Again(at) => (WebhookState::Pending, Some(at), None),
    };
    let changed: Option<(i64, i64, String)> = tx
        .connection
        .prepare_cached(
            "UPDATE webhooks SET attempts = attempts + 1, \
             state = iif(replays = :replays, :state, state), \
             due_at = iif(replays = :replays, :due_at, due_at), \
             settled_at = iif(replays = :replays, :settled_at, settled_at), \
             round = iif(replays = :replays, round + 1, round) \
             WHERE seq = (SELECT seq FROM jobs WHERE id = :job) AND state = 'pending' \
             RETURNING seq, attempts, origin",
        )?
        .query_row(
            named_params! {
                ":job": tried.job.as_bytes(),
                ":replays": tried.replays,
                ":state": state.as_str(),
                ":due_at": due_at.map(Timestamp::as_millis),
                ":settled_at": settled_at.map(Timestamp::as_millis),
            },
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    let Some((seq, number, origin)) = changed else {
        return Ok(());
    };
    queue::tried(tx, &origin, tried.has_answered)?;
    note(tx, (seq, number), tried)
}

fn note(tx: &Tx<'_>, (seq, number): (i64, i64), tried: &Tried) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached(
            "INSERT OR REPLACE INTO webhook_attempts (seq, n, at, took_ms, status, error) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((
            seq,
            number,
            tried.at.as_millis(),
            i64::try_from(tried.took.as_millis()).unwrap_or(i64::MAX),
            tried.status,
            &tried.error,
        ))?;
    tx.connection
        .prepare_cached("DELETE FROM webhook_attempts WHERE seq = ?1 AND n <= ?2")?
        .execute((seq, number - ATTEMPTS_KEPT))?;
    Ok(())
}

fn replay(tx: &Tx<'_>, job: JobId) -> Result<ReplayOutcome, StoreError> {
    let Some(record) = rows::find(tx.connection, job)? else {
        return Ok(ReplayOutcome::NotFound);
    };
    if !record.job.state.is_terminal() {
        return Ok(ReplayOutcome::NotEnded);
    }
    let origin: Option<String> = tx
        .connection
        .prepare_cached(
            "UPDATE webhooks SET state = 'pending', round = 0, replays = replays + 1, \
             due_at = ?2, settled_at = NULL WHERE seq = ?1 RETURNING origin",
        )?
        .query_row((record.seq, tx.now.as_millis()), |row| row.get(0))
        .optional()?;
    let (Some(origin), Some(webhook)) = (origin, find(tx.connection, job)?) else {
        return Ok(ReplayOutcome::NotFound);
    };
    queue::joined(tx, &origin)?;
    tx.webhook_due();
    Ok(ReplayOutcome::Due(webhook))
}

fn purge(tx: &Tx<'_>, before: Timestamp) -> Result<usize, StoreError> {
    let old = "SELECT seq FROM webhooks WHERE settled_at < ?1 ORDER BY settled_at LIMIT ?2";
    let values = (before.as_millis(), PURGED_AT_ONCE);
    tx.connection
        .prepare_cached(&format!(
            "DELETE FROM webhook_attempts WHERE seq IN ({old})"
        ))?
        .execute(values)?;
    Ok(tx
        .connection
        .prepare_cached(&format!("DELETE FROM webhooks WHERE seq IN ({old})"))?
        .execute(values)?)
}
