//! What forges weren't told yet, or never will be unless somebody asks: to be listed, counted
//! and told again.

use danube_model::limits::PAGE_JOBS_MAX;
use danube_model::{FromForge, Job, JobId, Page, Timestamp};
use rusqlite::{OptionalExtension, Row, named_params};

use super::from;
use crate::keys::patterns;
use crate::list::{page_of, read_cursor};
use crate::rows::{self, count, optional_time};
use crate::writer::Tx;
use crate::{Pending, Sight, Store, StoreError};

/// Why a status isn't told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UntoldState {
    /// It is due, now or later.
    Pending,
    /// It was given up.
    Failed,
}

impl UntoldState {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Failed => "failed",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Pending, Self::Failed];
        all.into_iter().find(|it| it.as_str() == text)
    }
}

/// How a job stands, which its forge doesn't know.
#[derive(Debug, Clone, PartialEq)]
pub struct UntoldStatus {
    /// The job.
    pub job: Job,
    /// Where it comes from.
    pub from: FromForge,
    /// When it is told next; none where it was given up.
    pub due_at: Option<Timestamp>,
    /// Attempts since there was something new to tell.
    pub attempts: u32,
    /// Why the last came to nothing.
    pub error: Option<String>,
}

impl UntoldStatus {
    /// Why it isn't told.
    #[must_use]
    pub fn state(&self) -> UntoldState {
        match self.due_at {
            Some(_) => UntoldState::Pending,
            None => UntoldState::Failed,
        }
    }
}

/// How much isn't told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatusOutbox {
    /// Statuses that are due, now or later.
    pub waiting: u64,
    /// When the one was due that is due the longest.
    pub oldest_due_at: Option<Timestamp>,
    /// Statuses that were given up, of jobs that are younger than was asked for.
    pub given_up: u64,
}

/// The rows that the index `forge_jobs_untold` holds.
macro_rules! untold {
    () => {
        "forge_jobs INDEXED BY forge_jobs_untold JOIN jobs USING (seq) \
         WHERE (due_at IS NOT NULL OR error IS NOT NULL)"
    };
}

impl Store {
    /// Tells a forge again at once how a job stands; none where no forge asked for the job.
    pub fn tell_again(&self, job: JobId) -> Pending<Option<UntoldStatus>> {
        self.urgent(move |tx| again(tx, job))
    }

    /// What isn't told, that of the newest job first: of the jobs that are seen, or in one state.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`] for a cursor that isn't ours.
    pub fn untold_statuses(
        &self,
        (sight, state): (&Sight, Option<UntoldState>),
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<UntoldStatus>, StoreError> {
        const SQL: &str = concat!(
            "SELECT kind, name, repository, commit_id, request, fork, approved_by, due_at, round, \
             error, seq FROM (SELECT forge_jobs.* FROM ",
            untold!(),
            " AND seq < :below AND (:pending IS NULL OR (due_at IS NOT NULL) = :pending) \
             AND (:sight IS NULL OR EXISTS (SELECT 1 FROM json_each(:sight) \
             WHERE pipeline GLOB value)) \
             AND (:names IS NULL OR pipeline IN (SELECT value FROM json_each(:names))) \
             ORDER BY seq DESC LIMIT :limit)"
        );
        let (fitting, names) = match sight {
            Sight::All => (None, None),
            Sight::Patterns(all) => (Some(patterns(all)), None),
            // What a forge starts is a pipeline of the blueprint, and nobody's own.
            Sight::Member(member) => {
                let fitting = member.patterns.as_ref().map(|it| patterns(it));
                (fitting, Some(patterns(&member.pipelines)))
            }
        };
        let sealer = &self.inner.shared.sealer;
        let below = match cursor {
            Some(text) => read_cursor(sealer, text).ok_or(StoreError::BadCursor)?,
            None => i64::MAX,
        };
        let limit = limit.clamp(1, PAGE_JOBS_MAX);
        let items: Vec<(i64, UntoldStatus)> = self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(SQL)?;
            let values = named_params! {
                ":below": below,
                ":pending": state.map(|it| it == UntoldState::Pending),
                ":sight": fitting,
                ":names": names,
                ":limit": i64::try_from(limit + 1).unwrap_or(i64::MAX),
            };
            let rows = statement.query_map(values, read)?;
            let mut all = Vec::new();
            for row in rows {
                let (seq, from, (due_at, attempts, error)) = row?;
                let Some(record) = rows::at(connection, seq)? else {
                    continue;
                };
                let status = UntoldStatus {
                    job: record.job,
                    from,
                    due_at,
                    attempts,
                    error,
                };
                all.push((seq, status));
            }
            Ok(all)
        })?;
        Ok(page_of(sealer, items, limit))
    }

    /// How much isn't told; given up counts for jobs that came since then.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn status_outbox(&self, since: Timestamp) -> Result<StatusOutbox, StoreError> {
        const SQL: &str = concat!(
            "SELECT count(due_at), min(due_at), count(CASE WHEN due_at IS NULL AND created_at > ?1 THEN 1 END) FROM ",
            untold!()
        );
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(SQL)?;
            Ok(statement.query_row([since.as_millis()], |row| {
                Ok(StatusOutbox {
                    waiting: count(row, 0)?,
                    oldest_due_at: optional_time(row, 1)?,
                    given_up: count(row, 2)?,
                })
            })?)
        })
    }
}

/// What a row says beside the job.
type Told = (Option<Timestamp>, u32, Option<String>);

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, FromForge, Told)> {
    let told = (optional_time(row, 7)?, row.get(8)?, row.get(9)?);
    Ok((row.get(10)?, from(row, 0)?, told))
}

/// It counts as new, so that an attempt that goes on meanwhile settles nothing.
fn again(tx: &Tx<'_>, job: JobId) -> Result<Option<UntoldStatus>, StoreError> {
    const SQL: &str = "UPDATE forge_jobs SET changes = changes + 1, due_at = ?2, round = 0 \
        WHERE seq = ?1 RETURNING kind, name, repository, commit_id, request, fork, approved_by, \
        due_at, round, error, seq";
    let Some(record) = rows::find(tx.connection, job)? else {
        return Ok(None);
    };
    let mut statement = tx.connection.prepare_cached(SQL)?;
    let row = statement.query_row((record.seq, tx.now.as_millis()), read);
    let Some((_, from, (due_at, attempts, error))) = row.optional()? else {
        return Ok(None);
    };
    tx.webhook_due();
    Ok(Some(UntoldStatus {
        job: record.job,
        from,
        due_at,
        attempts,
        error,
    }))
}
