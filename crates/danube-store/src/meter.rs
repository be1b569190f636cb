//! What the store tells about itself, and the SQLite hooks that feed it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use danube_model::{JobId, Kind, State};
use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

/// What a statement does, by its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Reads.
    Select,
    /// Adds rows.
    Insert,
    /// Changes rows.
    Update,
    /// Removes rows.
    Delete,
    /// Everything else: transactions, savepoints, pragmas, schema.
    Other,
}

impl Operation {
    /// The operation of a statement.
    #[must_use]
    pub fn of(sql: &str) -> Self {
        let word = sql
            .trim_start()
            .split(|it: char| !it.is_ascii_alphabetic())
            .next()
            .unwrap_or_default();
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        match () {
            () if is("select") || is("with") => Self::Select,
            () if is("insert") || is("replace") => Self::Insert,
            () if is("update") => Self::Update,
            () if is("delete") => Self::Delete,
            () => Self::Other,
        }
    }

    /// The name in metrics; none for what isn't counted there.
    #[must_use]
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Select => Some("select"),
            Self::Insert => Some("insert"),
            Self::Update => Some("update"),
            Self::Delete => Some("delete"),
            Self::Other => None,
        }
    }
}

/// A job that came to be, or moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Which.
    pub job: JobId,
    /// Its pipeline's name.
    pub pipeline: String,
    /// What kind of work it is.
    pub kind: Kind,
    /// The queue that it waits or waited in.
    pub queue: String,
    /// Where it was; none for a new one.
    pub from: Option<State>,
    /// Where it is.
    pub to: State,
}

/// Pending jobs that have all of this in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiters {
    /// Their pipeline's name.
    pub pipeline: String,
    /// What kind of work they are.
    pub kind: Kind,
    /// The queue that they wait in.
    pub queue: String,
    /// How many there are.
    pub jobs: u64,
}

/// The jobs that haven't ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// How many are pending.
    pub pending: Vec<Waiters>,
    /// Those that are scheduling or running; `from` is none.
    pub leased: Vec<Moved>,
}

/// Hears what the store does. Called from the writer's and the readers'
/// threads, between statements: it must be quick and must not call the store.
pub trait Meter: Send + Sync {
    /// A statement ended after `elapsed`. Every statement comes by here.
    fn query(&self, _operation: Operation, _elapsed: Duration) {}
    /// Somebody waited this long for the right to write: for SQLite's lock, or (the
    /// longest of a batch) for our own writer, beyond what a turn takes when all is well.
    fn lock_waited(&self, _waited: Duration) {}
    /// So many connections are in use now.
    fn connections(&self, _in_use: i64) {}
    /// So many jobs are pending and active (scheduling or running) now.
    fn counts(&self, _pending: u64, _active: u64) {}
    /// A job came to be, or moved: told once, after that is durable.
    fn moved(&self, _moved: &Moved) {}
    /// A webhook became due: told after that is durable.
    fn webhook_due(&self) {}
    /// The writer begins to work (`true`) or has nothing to do (`false`).
    fn writer(&self, _works: bool) {}
    /// What hasn't ended was counted in the database, at the start or after it
    /// was given up: this takes the place of all that was told before.
    fn counted(&self, _live: &Live) {}
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMeter;

impl Meter for NoMeter {}

/// Times every statement of `connection`, whoever runs it.
///
/// SQLite's own profile clock counts whole milliseconds, so the time is taken
/// here, from the statement's first step to its end.
pub(crate) fn watch(connection: &mut Connection, meter: Arc<dyn Meter>) -> rusqlite::Result<()> {
    let mut began: Option<Instant> = None;
    connection.trace_v2(
        TraceEventCodes::SQLITE_TRACE_STMT | TraceEventCodes::SQLITE_TRACE_PROFILE,
        Some(move |event: TraceEvent<'_>| match event {
            TraceEvent::Stmt(..) => began = Some(Instant::now()),
            TraceEvent::Profile(statement, by_sqlite) => {
                let elapsed = began.take().map_or(by_sqlite, |it| it.elapsed());
                meter.query(Operation::of(&statement.sql()), elapsed);
            }
            _ => {}
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_says_what_a_statement_does() {
        for (sql, expected) in [
            ("SELECT 1", Operation::Select),
            ("  \n insert into a values (1)", Operation::Insert),
            ("Update a SET b = 1", Operation::Update),
            ("DELETE FROM a", Operation::Delete),
            ("BEGIN IMMEDIATE", Operation::Other),
            ("", Operation::Other),
        ] {
            assert_eq!(Operation::of(sql), expected, "{sql}");
        }
    }
}
