//! Who is to be told next: an address has a turn, and its webhooks wait behind it. What is
//! read for a look depends on what there is room for, not on how much waits.

use std::collections::HashMap;

use danube_model::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

use super::types::DueWebhook;
use crate::rows::{self, time};
use crate::writer::Tx;
use crate::{Store, StoreError};

/// Addresses in the order of their turn.
const TURNS: &str =
    "SELECT origin FROM webhook_origins WHERE ailing = ?1 AND next_at <= ?2 ORDER BY next_at";

/// Webhooks of an address, the longest due first.
const WAITING: &str = "SELECT id, owner, origin, shown, attempts, round, replays, \
     webhooks.ended_at FROM webhooks JOIN jobs USING (seq) \
     WHERE origin = ?1 AND due_at <= ?2 ORDER BY due_at, seq LIMIT ?3";

/// What there is room for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// What is due by then.
    pub now: Timestamp,
    /// Addresses that didn't answer the last time, or those that did.
    pub is_ailing: bool,
    /// So many webhooks in all.
    pub places: usize,
    /// Of one address, with those that are being sent.
    pub each: usize,
    /// How many are being sent, by address.
    pub busy: &'a HashMap<String, usize>,
}

impl Store {
    /// Webhooks that are due, enough to choose from: addresses by their turn, the longest
    /// due first of each. Those that are being sent are among them: for each of these
    /// there is one more.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn due_webhooks(&self, wanted: Wanted<'_>) -> Result<Vec<DueWebhook>, StoreError> {
        self.inner
            .readers
            .read(|connection| Ok(due(connection, wanted)?))
    }
}

fn due(connection: &Connection, wanted: Wanted<'_>) -> rusqlite::Result<Vec<DueWebhook>> {
    let now = wanted.now.as_millis();
    let mut places = wanted.places;
    let mut found = Vec::new();
    let mut turns = connection.prepare_cached(TURNS)?;
    let mut waiting = connection.prepare_cached(WAITING)?;
    let mut turns = turns.query((wanted.is_ailing, now))?;
    while places > 0
        && let Some(row) = turns.next()?
    {
        let origin: String = row.get(0)?;
        let busy = wanted.busy.get(&origin).copied().unwrap_or_default();
        // Those that are being sent are in the way, wherever they stand.
        let share = wanted.each.saturating_sub(busy).min(places);
        if share == 0 {
            continue;
        }
        let limit = i64::try_from(share + busy).unwrap_or(i64::MAX);
        let before = found.len();
        for it in waiting.query_map((&origin, now, limit), |row| webhook(row, wanted.is_ailing))? {
            found.push(it?);
        }
        places -= (found.len() - before).saturating_sub(busy).min(places);
    }
    Ok(found)
}

fn webhook(row: &Row<'_>, is_ailing: bool) -> rusqlite::Result<DueWebhook> {
    let attempts: u32 = row.get(4)?;
    Ok(DueWebhook {
        job: rows::id(row, 0)?,
        owner: row.get(1)?,
        origin: row.get(2)?,
        shown: row.get(3)?,
        attempt: attempts.saturating_add(1),
        round: row.get(5)?,
        replays: row.get(6)?,
        is_ailing,
        ended_at: time(row, 7)?,
    })
}

/// A webhook of this address is due now.
pub(super) fn joined(tx: &Tx<'_>, origin: &str) -> Result<(), StoreError> {
    tx.connection
        .prepare_cached(
            "INSERT INTO webhook_origins (origin, ailing, next_at) VALUES (?1, 0, ?2) \
             ON CONFLICT (origin) DO UPDATE SET next_at = min(next_at, excluded.next_at)",
        )?
        .execute((origin, tx.now.as_millis()))?;
    Ok(())
}

/// A webhook of this address was tried: it isn't due any more, or later. One that doesn't
/// answer goes behind the others like it.
pub(super) fn tried(tx: &Tx<'_>, origin: &str, has_answered: bool) -> Result<(), StoreError> {
    let first: Option<i64> = tx
        .connection
        .prepare_cached(
            "SELECT due_at FROM webhooks WHERE origin = ?1 AND due_at IS NOT NULL \
             ORDER BY due_at LIMIT 1",
        )?
        .query_row([origin], |row| row.get(0))
        .optional()?;
    let Some(first) = first else {
        // Whether it answers is forgotten with it, so that nothing grows here.
        tx.connection
            .prepare_cached("DELETE FROM webhook_origins WHERE origin = ?1")?
            .execute([origin])?;
        return Ok(());
    };
    let next_at = if has_answered {
        first
    } else {
        first.max(tx.now.as_millis())
    };
    tx.connection
        .prepare_cached(
            "INSERT INTO webhook_origins (origin, ailing, next_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (origin) DO UPDATE SET ailing = excluded.ailing, next_at = excluded.next_at",
        )?
        .execute((origin, !has_answered, next_at))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::schema;

    /// A database in memory in which so many webhooks are due, at so many addresses.
    fn waiting(webhooks: u32, origins: u32) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        let tx = connection.transaction().unwrap();
        tx.execute_batch(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {webhooks}) \
             INSERT INTO jobs SELECT i, unhex(printf('%032x', i)), 'pipeline', 'build', 'success', \
               'api', NULL, 'admin', 'default', 0, NULL, '', '', 0, 0, 0, 1, 0, 1, 1, NULL, NULL, 0, \
               NULL, 0, 1, 0, NULL, NULL, NULL, '', NULL, '', NULL, NULL FROM n; \
             INSERT INTO webhooks SELECT seq, '1', 'https://h/', 'https://h' || (seq % {origins}), x'00', \
               'pending', 0, 0, 0, seq, NULL, 0 FROM jobs; \
             INSERT INTO webhook_origins SELECT origin, 0, min(due_at) FROM webhooks GROUP BY origin;"
        ))
        .unwrap();
        tx.commit().unwrap();
        connection
    }

    /// Steps of SQLite's machine that one look takes: a count, so the same on every
    /// computer. And how many webhooks it found.
    fn look(connection: &Connection, busy: &HashMap<String, usize>) -> (i32, usize) {
        let wanted = Wanted {
            now: Timestamp::from_millis(i64::MAX),
            is_ailing: false,
            places: 32,
            each: 4,
            busy,
        };
        let found = due(connection, wanted).unwrap();
        let steps = [TURNS, WAITING].map(|sql| {
            let statement = connection.prepare_cached(sql).unwrap();
            assert_eq!(statement.get_status(StatementStatus::Sort), 0, "{sql}");
            assert_eq!(statement.get_status(StatementStatus::FullscanStep), 0);
            statement.get_status(StatementStatus::VmStep)
        });
        (steps.iter().sum(), found.len())
    }

    #[test]
    fn a_look_costs_what_there_is_room_for_and_not_what_waits() {
        let idle = HashMap::new();
        for origins in [50, 500] {
            let (few, found) = look(&waiting(1_000, origins), &idle);
            assert_eq!(found, 32);
            let (many, found) = look(&waiting(100_000, origins), &idle);
            assert_eq!(found, 32);
            assert!(many <= few + few / 10, "{few} steps became {many}");
        }
        let (all_apart, found) = look(&waiting(100_000, 100_000), &idle);
        assert_eq!(found, 32);
        assert!(all_apart < 2_000, "{all_apart} steps");
    }

    #[test]
    fn what_is_being_sent_leaves_its_place_to_the_next() {
        let connection = waiting(1_000, 10);
        let busy = |counts: &[(&str, usize)]| -> HashMap<String, usize> {
            let counts = counts.iter();
            counts.map(|(it, n)| ((*it).to_owned(), *n)).collect()
        };
        let origins = |busy: &HashMap<String, usize>, places| -> Vec<String> {
            let now = Timestamp::from_millis(i64::MAX);
            let wanted = Wanted {
                now,
                is_ailing: false,
                places,
                each: 4,
                busy,
            };
            let found = due(&connection, wanted).unwrap();
            found.into_iter().map(|it| it.origin).collect()
        };
        // Three of the first are being sent: there is one place more, so four are read.
        let found = origins(&busy(&[("https://h1", 3)]), 2);
        assert_eq!(found[..4], ["https://h1"; 4].map(str::to_owned));
        assert_eq!(found[4..], ["https://h2".to_owned()]);
        // An address that has all its places isn't looked at.
        let found = origins(&busy(&[("https://h1", 4)]), 1);
        assert_eq!(found, ["https://h2"]);
    }
}
