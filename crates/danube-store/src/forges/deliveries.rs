//! Webhooks of forges that made jobs. One that comes again, by its id or to the letter, is
//! answered with those.

use std::time::Duration;

use danube_model::{JobId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::writer::{Class, Tx};
use crate::{Pending, Store, StoreError};

/// How long one is remembered: forges send again what is a few days old.
pub const DELIVERY_KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// How many are remembered: some three thousand a day. The oldest go first.
pub const DELIVERIES_MAX: i64 = 100_000;

/// Old ones that a new one removes: more than it adds, so that they never pile up.
const PURGED_AT_ONCE: i64 = 8;

/// A webhook as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The name of the forge's credential.
    pub name: String,
    /// The id that the forge gave it. It isn't signed.
    pub id: Option<String>,
    /// SHA-256 of the body.
    pub body: [u8; 32],
}

/// A webhook that came before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenDelivery {
    /// It had the same body; else only its id was the same.
    pub is_same: bool,
    /// The jobs that it made.
    pub jobs: Vec<JobId>,
}

impl Store {
    /// What came of the same webhook, if it is remembered.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn seen_delivery(&self, asked: &Delivery) -> Result<Option<SeenDelivery>, StoreError> {
        let since = since(Timestamp::now());
        self.inner.readers.read(|connection| {
            let same = by(
                connection,
                "SELECT jobs FROM forge_deliveries WHERE name = ?1 AND body = ?2 AND at > ?3",
                (&asked.name, &asked.body, since),
            )?;
            if let (None, Some(id)) = (&same, &asked.id) {
                let named = by(
                    connection,
                    "SELECT jobs FROM forge_deliveries WHERE name = ?1 AND delivery = ?2 AND at > ?3",
                    (&asked.name, id, since),
                )?;
                return Ok(named.map(|jobs| SeenDelivery { is_same: false, jobs }));
            }
            Ok(same.map(|jobs| SeenDelivery { is_same: true, jobs }))
        })
    }

    /// Remembers a webhook that made these jobs.
    pub fn note_delivery(&self, delivery: Delivery, jobs: &[JobId]) -> Pending<()> {
        let jobs = written(jobs);
        let class = Class::Growing(jobs.len());
        self.inner
            .writer
            .send(class, move |tx| note(tx, &delivery, &jobs).map(drop))
    }
}

fn by(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Option<Vec<JobId>>, StoreError> {
    let read = |row: &Row<'_>| {
        let jobs: String = row.get(0)?;
        let jobs: Vec<String> = serde_json::from_str(&jobs).unwrap_or_default();
        let jobs = jobs.iter().filter_map(|it| it.parse().ok());
        Ok(jobs.collect())
    };
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row(values, read).optional()?)
}

/// Jobs as they are stored.
pub(super) fn written(jobs: &[JobId]) -> String {
    let jobs: Vec<String> = jobs.iter().map(JobId::to_string).collect();
    serde_json::to_string(&jobs).expect("texts")
}

/// Remembers a webhook; its entry.
pub(super) fn note(tx: &Tx<'_>, delivery: &Delivery, jobs: &str) -> Result<i64, StoreError> {
    let entry = tx
        .connection
        .prepare_cached(
            "INSERT INTO forge_deliveries (name, delivery, body, jobs, at) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .insert((
            &delivery.name,
            &delivery.id,
            &delivery.body,
            jobs,
            tx.now.as_millis(),
        ))?;
    // The first entries are the oldest.
    tx.connection
        .prepare_cached(
            "DELETE FROM forge_deliveries WHERE entry IN \
             (SELECT entry FROM forge_deliveries ORDER BY entry LIMIT ?1) \
             AND (at <= ?2 OR entry <= ?3)",
        )?
        .execute((PURGED_AT_ONCE, since(tx.now), entry - DELIVERIES_MAX))?;
    Ok(entry)
}

/// What came then or before is forgotten.
fn since(now: Timestamp) -> i64 {
    let kept = i64::try_from(DELIVERY_KEPT.as_millis()).unwrap_or(i64::MAX);
    now.as_millis().saturating_sub(kept)
}
