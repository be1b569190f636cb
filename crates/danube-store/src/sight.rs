//! Which jobs somebody may see: lists of them, and whose a job is.
//!
//! A list of what few pipelines hold must not walk a million jobs of others. So it asks each
//! pipeline that is seen for its newest job, takes the newest of these, and asks that pipeline
//! for the one before: as many seeks in an index as there are pipelines and jobs on the page.

use std::collections::BinaryHeap;

use danube_model::{JobId, State};
use rusqlite::{Connection, OptionalExtension, named_params};

use crate::keys::patterns;
use crate::rows::{self, Record, columns};
use crate::writer::Tx;
use crate::{MemberSight, Store, StoreError, jobs, timing};

/// What the owner of a job is called that a user of the blueprint submitted, before their name.
/// Nobody else's begins so.
pub const USER_OWNER: &str = "user-";

/// Pipelines that are asked one by one; where patterns fit more, what is seen lies close
/// enough to walk all jobs.
const NAMES_MAX: usize = 2_000;

pub(crate) const HEAD: &str = "SELECT seq FROM jobs WHERE pipeline = :name AND seq < :below \
    AND (:states IS NULL OR +state IN (SELECT value FROM json_each(:states))) \
    ORDER BY seq DESC LIMIT 1";

pub(crate) const OWN_HEAD: &str = "SELECT job_users.seq FROM job_users CROSS JOIN jobs USING (seq) \
    WHERE job_users.user = :user AND job_users.seq < :below \
    AND +jobs.pipeline NOT IN (SELECT value FROM json_each(:declared)) \
    AND (:name IS NULL OR +jobs.pipeline = :name) \
    AND (:patterns IS NULL OR EXISTS (SELECT 1 FROM json_each(:patterns) WHERE jobs.pipeline GLOB value)) \
    AND (:states IS NULL OR +jobs.state IN (SELECT value FROM json_each(:states))) \
    ORDER BY job_users.seq DESC LIMIT 1";

/// Few jobs wait or run, so these are walked, whosever they are.
pub(crate) const ACTIVE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM jobs WHERE state = :state AND seq < :below AND \
     (+pipeline IN (SELECT value FROM json_each(:names)) \
     OR (+pipeline NOT IN (SELECT value FROM json_each(:declared)) \
     AND EXISTS (SELECT 1 FROM job_users WHERE job_users.seq = jobs.seq AND job_users.user = :user) \
     AND (:name IS NULL OR +pipeline = :name) \
     AND (:patterns IS NULL OR EXISTS (SELECT 1 FROM json_each(:patterns) WHERE jobs.pipeline GLOB value)))) \
     ORDER BY seq DESC LIMIT :limit"
);

const ONE: &str = concat!("SELECT ", columns!(), " FROM jobs WHERE seq = ?1");

/// Writes down whose job it is, if it is a user's.
pub(crate) fn belongs_to(tx: &Tx<'_>, seq: i64, owner: &str) -> Result<(), StoreError> {
    let Some(user) = owner.strip_prefix(USER_OWNER) else {
        return Ok(());
    };
    tx.connection
        .prepare_cached("INSERT INTO job_users (seq, user) VALUES (?1, ?2)")?
        .insert((seq, user))?;
    Ok(())
}

impl Store {
    /// The user of the blueprint who submitted the job, if one did.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn user_of(&self, job: JobId) -> Result<Option<String>, StoreError> {
        const SQL: &str =
            "SELECT user FROM jobs CROSS JOIN job_users USING (seq) WHERE jobs.id = ?1";
        self.inner.readers.read(|connection| {
            let mut statement = connection.prepare_cached(SQL)?;
            let user = statement.query_row([job.as_bytes()], |row| row.get(0));
            Ok(user.optional()?)
        })
    }
}

impl Store {
    /// Whether the job names secrets or credentials; not when there is no such job.
    ///
    /// # Errors
    /// When the database can't be read, or what the job was asked can't.
    pub fn opens_secrets(&self, job: JobId) -> Result<bool, StoreError> {
        self.inner.readers.read(|connection| {
            let Some(record) = rows::find(connection, job)? else {
                return Ok(false);
            };
            let order = jobs::order_of(connection, &self.inner.shared.sealer, &record)?;
            Ok(order.task.opens_secrets())
        })
    }
}

/// Where a page of jobs is taken from.
pub(crate) struct Several {
    /// All of these pipelines.
    pub(crate) names: Vec<String>,
    /// And those of a user that no pipeline of theirs rules.
    pub(crate) own: Option<Own>,
}

/// Jobs of a user, as parameters of the statements above.
pub(crate) struct Own {
    user: String,
    declared: String,
    patterns: Option<String>,
    /// Of this pipeline alone.
    name: Option<String>,
}

impl Several {
    /// The pipelines with jobs that one of the patterns fits; none when there are too many.
    pub(crate) fn fitting(
        connection: &Connection,
        all: &[String],
    ) -> Result<Option<Self>, StoreError> {
        const FITS: &str = "SELECT EXISTS (SELECT 1 FROM json_each(?1) WHERE ?2 GLOB value)";
        let (all, mut names) = (patterns(all), Vec::new());
        let mut fits = connection.prepare_cached(FITS)?;
        let known = timing::names(connection)?;
        if known.len() == timing::NAMES_MAX {
            return Ok(None);
        }
        for (name, _) in known {
            if fits.query_row((&all, &name), |row| row.get(0))? {
                names.push(name);
            }
        }
        Ok((names.len() <= NAMES_MAX).then_some(Self { names, own: None }))
    }

    /// What a user sees of all pipelines, or of one that the blueprint doesn't declare.
    pub(crate) fn of(member: &MemberSight, name: Option<&str>) -> Self {
        let names = match name {
            None => member.pipelines.clone(),
            Some(_) => Vec::new(),
        };
        let own = Own {
            user: member.user.clone(),
            declared: patterns(&member.declared),
            patterns: member.patterns.as_ref().map(|it| patterns(it)),
            name: name.map(str::to_owned),
        };
        Self {
            names,
            own: Some(own),
        }
    }

    /// The newest jobs in these states, or in any when there are none; at most so many.
    pub(crate) fn page(
        &self,
        connection: &Connection,
        states: &[State],
        (below, limit): (i64, usize),
    ) -> Result<Vec<Record>, StoreError> {
        let (ended, active): (Vec<State>, Vec<State>) =
            states.iter().partition(|it| it.is_terminal());
        let mut records = Vec::new();
        if states.is_empty() || !ended.is_empty() {
            records = self.newest(connection, &ended, (below, limit))?;
        }
        for state in active {
            records.extend(self.active(connection, state, (below, limit))?);
        }
        records.sort_by_key(|it| std::cmp::Reverse(it.seq));
        records.truncate(limit);
        Ok(records)
    }

    fn newest(
        &self,
        connection: &Connection,
        states: &[State],
        (below, limit): (i64, usize),
    ) -> Result<Vec<Record>, StoreError> {
        let states = (!states.is_empty()).then(|| {
            let names: Vec<String> = states.iter().map(|it| it.as_str().to_owned()).collect();
            patterns(&names)
        });
        let states = states.as_deref();
        // Each place with its newest job below; the last place is the user's own.
        let mut heads = BinaryHeap::new();
        for place in 0..=self.names.len() {
            let head = self.head(connection, place, (states, below))?;
            heads.extend(head.map(|seq| (seq, place)));
        }
        let mut one = connection.prepare_cached(ONE)?;
        let mut records = Vec::new();
        while records.len() < limit
            && let Some((seq, place)) = heads.pop()
        {
            records.extend(one.query_row([seq], rows::record).optional()?);
            let next = self.head(connection, place, (states, seq))?;
            heads.extend(next.map(|seq| (seq, place)));
        }
        Ok(records)
    }

    /// The newest job of a place.
    fn head(
        &self,
        connection: &Connection,
        place: usize,
        (states, below): (Option<&str>, i64),
    ) -> Result<Option<i64>, StoreError> {
        let found = match (self.names.get(place), &self.own) {
            (Some(name), _) => connection.prepare_cached(HEAD)?.query_row(
                named_params! {":name": name, ":below": below, ":states": states},
                |row| row.get(0),
            ),
            (None, Some(own)) => connection.prepare_cached(OWN_HEAD)?.query_row(
                named_params! {":user": own.user, ":below": below, ":declared": own.declared,
                ":name": own.name, ":patterns": own.patterns, ":states": states},
                |row| row.get(0),
            ),
            (None, None) => return Ok(None),
        };
        Ok(found.optional()?)
    }

    fn active(
        &self,
        connection: &Connection,
        state: State,
        (below, limit): (i64, usize),
    ) -> Result<Vec<Record>, StoreError> {
        let own = self.own.as_ref();
        let mut statement = connection.prepare_cached(ACTIVE)?;
        let values = named_params! {
            ":state": state.as_str(),
            ":below": below,
            ":names": patterns(&self.names),
            ":user": own.map(|it| &it.user),
            ":declared": own.map_or("[]", |it| &it.declared),
            ":name": own.and_then(|it| it.name.as_ref()),
            ":patterns": own.and_then(|it| it.patterns.as_ref()),
            ":limit": i64::try_from(limit).unwrap_or(i64::MAX),
        };
        let rows = statement.query_map(values, rows::record)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
