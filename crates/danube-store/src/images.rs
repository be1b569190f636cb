//! Images of the registry: when each was used last. The registry itself doesn't say.

use std::collections::HashSet;

use danube_model::Timestamp;

use crate::rows::time;
use crate::writer::Tx;
use crate::{Pending, Store, StoreError};

/// An image: a manifest in a repository of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageName {
    /// Such as `team/app`.
    pub repository: String,
    /// Such as `sha256:9f86…`.
    pub digest: String,
}

impl Store {
    /// These were pushed or pulled now. Rides along with the next commit.
    pub fn images_used(&self, used: Vec<ImageName>) -> Pending<()> {
        self.lazy(move |tx| {
            for image in &used {
                note(tx, image, USED)?;
            }
            Ok(())
        })
    }

    /// These are all that there are: those that weren't known count as used now, those that
    /// are gone are forgotten. When each was used last, in their order.
    pub fn images_seen(&self, seen: Vec<ImageName>) -> Pending<Vec<Timestamp>> {
        self.urgent(move |tx| see(tx, &seen))
    }
}

const USED: &str = "INSERT INTO images (repository, digest, last_used_at) VALUES (?1, ?2, ?3) \
                    ON CONFLICT DO UPDATE SET last_used_at = excluded.last_used_at";

const SEEN: &str = "INSERT INTO images (repository, digest, last_used_at) VALUES (?1, ?2, ?3) \
                    ON CONFLICT DO NOTHING";

fn note(tx: &Tx<'_>, image: &ImageName, sql: &str) -> Result<(), StoreError> {
    tx.connection.prepare_cached(sql)?.execute((
        &image.repository,
        &image.digest,
        tx.now.as_millis(),
    ))?;
    Ok(())
}

fn see(tx: &Tx<'_>, seen: &[ImageName]) -> Result<Vec<Timestamp>, StoreError> {
    for image in seen {
        note(tx, image, SEEN)?;
    }
    let there: HashSet<(&str, &str)> = seen
        .iter()
        .map(|it| (it.repository.as_str(), it.digest.as_str()))
        .collect();
    let mut statement = tx
        .connection
        .prepare_cached("SELECT repository, digest FROM images")?;
    let known = statement.query_map([], |row| {
        let pair: (String, String) = (row.get(0)?, row.get(1)?);
        Ok(pair)
    })?;
    let known: Vec<(String, String)> = known.collect::<Result<_, _>>()?;
    for (repository, digest) in &known {
        if !there.contains(&(repository.as_str(), digest.as_str())) {
            tx.connection
                .prepare_cached("DELETE FROM images WHERE repository = ?1 AND digest = ?2")?
                .execute((repository, digest))?;
        }
    }
    let mut statement = tx
        .connection
        .prepare_cached("SELECT last_used_at FROM images WHERE repository = ?1 AND digest = ?2")?;
    let used = seen
        .iter()
        .map(|image| statement.query_row((&image.repository, &image.digest), |row| time(row, 0)));
    Ok(used.collect::<Result<_, _>>()?)
}
