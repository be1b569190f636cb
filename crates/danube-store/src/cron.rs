//! Up to which time each trigger of time was looked at.

use std::collections::BTreeMap;

use danube_model::Timestamp;

use crate::{Pending, Store, StoreError};

/// Times by trigger.
pub type CronTimes = BTreeMap<String, Timestamp>;

impl Store {
    /// Up to which time each trigger was looked at.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn cron_times(&self) -> Result<CronTimes, StoreError> {
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT trigger, at FROM cron_times")?;
            let rows = statement.query_map([], |row| {
                let at: i64 = row.get(1)?;
                Ok((row.get(0)?, Timestamp::from_millis(at)))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// These are the triggers from now on, looked at up to these times.
    pub fn set_cron_times(&self, times: CronTimes) -> Pending<()> {
        self.urgent(move |tx| {
            tx.connection.execute("DELETE FROM cron_times", [])?;
            let mut insert = tx
                .connection
                .prepare_cached("INSERT INTO cron_times (trigger, at) VALUES (?1, ?2)")?;
            for (trigger, at) in &times {
                insert.execute((trigger, at.as_millis()))?;
            }
            Ok(())
        })
    }

    /// A trigger was looked at up to this time.
    pub fn note_cron_time(&self, trigger: &str, at: Timestamp) -> Pending<()> {
        let trigger = trigger.to_owned();
        self.urgent(move |tx| {
            tx.connection
                .prepare_cached("INSERT OR REPLACE INTO cron_times (trigger, at) VALUES (?1, ?2)")?
                .execute((&trigger, at.as_millis()))?;
            Ok(())
        })
    }
}
