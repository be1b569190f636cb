//! What forges asked for while no more jobs could wait: kept until one may, in the order in
//! which it came.
//!
//! Whoever makes the job of an entry tells afterwards that it is made. A crash between the two
//! makes it again by the same idempotency key, which is the same job.

use danube_model::{ForgeKind, FromForge, JobId, Timestamp};
use rusqlite::{Connection, Row, named_params};

use super::deliveries::{self, Delivery};
use crate::rows::{count, named, time};
use crate::writer::{Class, Tx};
use crate::{Pending, Store, StoreError};

/// Entries that one forge may have: a busy morning of a large team. More are refused, and
/// their forge shows them as failed.
pub const INBOX_STARTS_MAX: u64 = 1_000;

/// Bytes of the texts of these: names are bounded, so this is what they rarely come to.
pub const INBOX_BYTES_MAX: u64 = 1024 * 1024;

/// What a forge asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgeStart {
    /// What is started.
    pub pipeline: String,
    /// The job's ref.
    pub git_ref: String,
    /// Where it comes from.
    pub from: FromForge,
    /// Who did it, at the forge.
    pub user: String,
}

/// A start that is to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStart {
    /// What is asked for.
    pub start: ForgeStart,
    /// Older ones of the same pipeline and ref go for it.
    pub replaces: bool,
}

impl NewStart {
    fn bytes(&self) -> u64 {
        let it = &self.start;
        let texts = [&it.from.name, &it.from.repository, &it.from.commit];
        let texts = texts
            .into_iter()
            .chain([&it.pipeline, &it.git_ref, &it.user]);
        texts.map(|it| it.len() as u64).sum()
    }
}

/// A start that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingStart {
    /// Its place in the order of all.
    pub entry: i64,
    /// What is asked for.
    pub start: ForgeStart,
}

/// What came of having starts wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// They do. These went for them.
    Waiting(Vec<WaitingStart>),
    /// There is no room for all of them; nothing was changed.
    Full,
}

/// What waits of one forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgeInbox {
    /// The name of the forge's credential.
    pub name: String,
    /// How many starts.
    pub starts: u64,
    /// Since when the oldest does.
    pub oldest_at: Timestamp,
}

macro_rules! columns {
    () => {
        "entry, pipeline, git_ref, kind, name, repository, commit_id, request, fork, user"
    };
}

impl Store {
    /// Has starts wait, and remembers the webhook that asked for them, with the jobs that it
    /// made already.
    pub fn keep_starts(
        &self,
        delivery: Delivery,
        jobs: &[JobId],
        starts: Vec<NewStart>,
    ) -> Pending<Kept> {
        let jobs = deliveries::written(jobs);
        let bytes: u64 = starts.iter().map(NewStart::bytes).sum();
        let class = Class::Growing(jobs.len() + usize::try_from(bytes).unwrap_or(usize::MAX));
        self.inner
            .writer
            .send(class, move |tx| keep(tx, &delivery, &jobs, &starts))
    }

    /// A start waits no more: this job came of it, or none.
    pub fn start_settled(&self, entry: i64, job: Option<JobId>) -> Pending<()> {
        self.urgent(move |tx| settle(tx, entry, job))
    }

    /// The oldest start of each pipeline, the oldest first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn first_starts(&self) -> Result<Vec<WaitingStart>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM forge_inbox WHERE entry IN (SELECT min(entry) FROM forge_inbox \
             GROUP BY pipeline) ORDER BY entry"
        );
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(SQL)?;
            let rows = statement.query_map([], start)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Whether a start of the pipeline waits.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn has_start_waiting(&self, pipeline: &str) -> Result<bool, StoreError> {
        self.inner.readers.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM forge_inbox WHERE pipeline = ?1)")?;
            Ok(statement.query_row([pipeline], |row| row.get(0))?)
        })
    }

    /// What waits, by forge.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn forge_inboxes(&self) -> Result<Vec<ForgeInbox>, StoreError> {
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, count(*), min(at) FROM forge_inbox GROUP BY name ORDER BY name",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(ForgeInbox {
                    name: row.get(0)?,
                    starts: count(row, 1)?,
                    oldest_at: time(row, 2)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

fn start(row: &Row<'_>) -> rusqlite::Result<WaitingStart> {
    let request: Option<i64> = row.get(7)?;
    Ok(WaitingStart {
        entry: row.get(0)?,
        start: ForgeStart {
            pipeline: row.get(1)?,
            git_ref: row.get(2)?,
            from: FromForge {
                kind: named(row, 3, ForgeKind::parse)?,
                name: row.get(4)?,
                repository: row.get(5)?,
                commit: row.get(6)?,
                request: request.map(i64::cast_unsigned),
                is_fork: row.get(8)?,
                approved_by: None,
            },
            user: row.get(9)?,
        },
    })
}

fn keep(
    tx: &Tx<'_>,
    delivery: &Delivery,
    jobs: &str,
    starts: &[NewStart],
) -> Result<Kept, StoreError> {
    let mut replaced = Vec::new();
    for it in starts.iter().filter(|it| it.replaces) {
        replaced.extend(replace(tx.connection, &it.start)?);
    }
    let entry = deliveries::note(tx, delivery, jobs)?;
    for it in starts {
        insert(tx, it, entry)?;
    }
    let (all, bytes) = held(tx.connection, &delivery.name)?;
    if all > INBOX_STARTS_MAX || bytes > INBOX_BYTES_MAX {
        tx.undo();
        return Ok(Kept::Full);
    }
    Ok(Kept::Waiting(replaced))
}

/// Older ones of the same ref go; the same commit keeps its place.
fn replace(connection: &Connection, new: &ForgeStart) -> Result<Vec<WaitingStart>, StoreError> {
    const SQL: &str = concat!(
        "DELETE FROM forge_inbox WHERE name = ?1 AND pipeline = ?2 AND git_ref = ?3 \
         AND commit_id <> ?4 RETURNING ",
        columns!()
    );
    let mut statement = connection.prepare_cached(SQL)?;
    let values = (
        &new.from.name,
        &new.pipeline,
        &new.git_ref,
        &new.from.commit,
    );
    let rows = statement.query_map(values, start)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn insert(tx: &Tx<'_>, new: &NewStart, delivery: i64) -> Result<(), StoreError> {
    let it = &new.start;
    const SQL: &str = "INSERT OR IGNORE INTO forge_inbox (kind, name, repository, pipeline, \
        git_ref, commit_id, request, fork, user, delivery, bytes, at) VALUES (:kind, :name, \
        :repository, :pipeline, :git_ref, :commit, :request, :fork, :user, :delivery, :bytes, :at)";
    tx.connection.prepare_cached(SQL)?.execute(named_params! {
        ":kind": it.from.kind.as_str(),
        ":name": it.from.name,
        ":repository": it.from.repository,
        ":pipeline": it.pipeline,
        ":git_ref": it.git_ref,
        ":commit": it.from.commit,
        ":request": it.from.request.map(u64::cast_signed),
        ":fork": it.from.is_fork,
        ":user": it.user,
        ":delivery": delivery,
        ":bytes": new.bytes().cast_signed(),
        ":at": tx.now.as_millis(),
    })?;
    Ok(())
}

/// How many there are of a forge, and their bytes.
fn held(connection: &Connection, name: &str) -> Result<(u64, u64), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*), coalesce(sum(bytes), 0) FROM forge_inbox WHERE name = ?1",
    )?;
    Ok(statement.query_row([name], |row| Ok((count(row, 0)?, count(row, 1)?)))?)
}

fn settle(tx: &Tx<'_>, entry: i64, job: Option<JobId>) -> Result<(), StoreError> {
    if let Some(job) = job {
        tx.connection
            .prepare_cached(
                "UPDATE forge_deliveries SET jobs = json_insert(jobs, '$[#]', ?2) \
                 WHERE entry = (SELECT delivery FROM forge_inbox WHERE entry = ?1)",
            )?
            .execute((entry, job.to_string()))?;
    }
    tx.connection
        .prepare_cached("DELETE FROM forge_inbox WHERE entry = ?1")?
        .execute([entry])?;
    Ok(())
}
