//! Lists of jobs: newest first, by pages that stay put while jobs come in.

use danube_model::limits::PAGE_JOBS_MAX;
use danube_model::{Job, Page, State};
use rusqlite::{Connection, named_params};

use crate::rows::{self, Record, columns};
use crate::seal::Sealer;
use crate::{Filter, Store, StoreError};

/// Bytes of a cursor's seal: enough that nobody makes one up by trying.
const CURSOR_TAG_BYTES: usize = 8;

impl Store {
    /// The jobs that `filter` shows, newest first, without their steps.
    /// `cursor` is the `next_cursor` of the page before; `limit` is brought
    /// between 1 and [`PAGE_JOBS_MAX`]. Jobs that come in meanwhile never shift
    /// a page.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`] for a cursor that isn't ours.
    pub fn list(
        &self,
        filter: &Filter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<Job>, StoreError> {
        let sealer = &self.inner.shared.sealer;
        let below = match cursor {
            Some(text) => read_cursor(sealer, text).ok_or(StoreError::BadCursor)?,
            None => i64::MAX,
        };
        let limit = limit.clamp(1, PAGE_JOBS_MAX);
        // One more than asked for says whether there is a next page.
        let mut records = self
            .inner
            .readers
            .read(|connection| page(connection, filter, below, limit + 1))?;
        let more = records.len() > limit;
        records.truncate(limit);
        let next_cursor = match records.last() {
            Some(last) if more => Some(write_cursor(sealer, last.seq)),
            _ => None,
        };
        Ok(Page {
            items: records.into_iter().map(|it| it.job).collect(),
            next_cursor,
        })
    }
}

/// One index gives the rows of one state in order; several states are several
/// queries, merged here, because SQLite would sort all their rows first.
fn page(
    connection: &Connection,
    filter: &Filter,
    below: i64,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let pipeline = filter.pipeline.as_deref();
    if filter.states.is_empty() {
        return query(connection, (None, pipeline), below, limit);
    }
    let mut records = Vec::new();
    for state in State::ALL {
        if filter.states.contains(&state) {
            records.extend(query(connection, (Some(state), pipeline), below, limit)?);
        }
    }
    records.sort_by_key(|it| std::cmp::Reverse(it.seq));
    records.truncate(limit);
    Ok(records)
}

fn query(
    connection: &Connection,
    (state, pipeline): (Option<State>, Option<&str>),
    below: i64,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let mut statement = connection.prepare_cached(sql(state, pipeline.is_some()))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let name = state.map(State::as_str);
    let rows = match (name, pipeline) {
        (None, None) => statement.query_map(
            named_params! {":below": below, ":limit": limit},
            rows::record,
        ),
        (Some(state), None) => statement.query_map(
            named_params! {":below": below, ":limit": limit, ":state": state},
            rows::record,
        ),
        (None, Some(pipeline)) => statement.query_map(
            named_params! {":below": below, ":limit": limit, ":pipeline": pipeline},
            rows::record,
        ),
        (Some(state), Some(pipeline)) => statement.query_map(
            named_params! {":below": below, ":limit": limit, ":state": state, ":pipeline": pipeline},
            rows::record,
        ),
    };
    Ok(rows?.collect::<Result<_, _>>()?)
}

/// The statement for a filter. With both, the unary plus keeps SQLite from the
/// index that holds more rows: few jobs are pending or leased, many have ended.
fn sql(state: Option<State>, pipeline: bool) -> &'static str {
    macro_rules! list {
        ($which:literal) => {
            concat!(
                "SELECT ",
                columns!(),
                " FROM jobs WHERE ",
                $which,
                "seq < :below ORDER BY seq DESC LIMIT :limit"
            )
        };
    }
    match (state, pipeline) {
        (None, false) => list!(""),
        (Some(_), false) => list!("state = :state AND "),
        (None, true) => list!("pipeline = :pipeline AND "),
        (Some(state), true) if state.is_terminal() => {
            list!("+state = :state AND pipeline = :pipeline AND ")
        }
        (Some(_), true) => list!("state = :state AND +pipeline = :pipeline AND "),
    }
}

pub(crate) fn write_cursor(sealer: &Sealer, seq: i64) -> String {
    let seq = seq.to_be_bytes();
    let tag = sealer.hash("cursor", &[&seq]);
    seq.iter()
        .chain(&tag[..CURSOR_TAG_BYTES])
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub(crate) fn read_cursor(sealer: &Sealer, text: &str) -> Option<i64> {
    let (seq, _) = text.split_at_checked(16)?;
    let seq = i64::from_be_bytes(u64::from_str_radix(seq, 16).ok()?.to_be_bytes());
    // Compared as a whole, so that a cursor has one spelling.
    (write_cursor(sealer, seq) == text).then_some(seq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    fn plan(connection: &Connection, sql: &str) -> String {
        let mut statement = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let lines = statement
            .raw_query()
            .mapped(|row| row.get::<_, String>(3))
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
        lines.join("\n")
    }

    #[test]
    fn every_list_walks_an_index_and_sorts_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        let states = State::ALL.into_iter().map(Some).chain([None]);
        for (state, pipeline) in states.flat_map(|state| [(state, false), (state, true)]) {
            let plan = plan(&connection, sql(state, pipeline));
            let index = match (state, pipeline) {
                (None, false) => "USING INTEGER PRIMARY KEY",
                (Some(state), true) if state.is_terminal() => "jobs_pipeline",
                (None, true) => "jobs_pipeline",
                (Some(_), _) => "jobs_state",
            };
            assert!(plan.starts_with("SEARCH") && plan.contains(index), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }

    #[test]
    fn the_other_reads_walk_an_index_too() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        for sql in [
            crate::read::WAITING,
            crate::read::PENDING_JOB,
            crate::read::LEASED,
            crate::read::HISTORY,
            crate::read::CHECK,
            crate::read::PENDING,
            crate::read::ACTIVE,
            crate::timing::NAMES,
            crate::timing::RUNS,
            crate::timing::MOVES,
            crate::timing::STEPS,
        ] {
            let plan = plan(&connection, sql);
            assert!(plan.starts_with("SEARCH"), "{sql}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{sql}: {plan}");
        }
        let plan_of_names = plan(&connection, crate::read::PENDING_QUEUES);
        let walks = plan_of_names.matches("USING COVERING INDEX jobs_pending");
        assert_eq!(walks.count(), 2, "{plan_of_names}");
        // The one that walks a whole index, but never the jobs themselves.
        let plan = plan(&connection, crate::read::SHORT);
        assert!(plan.contains("USING COVERING INDEX"), "{plan}");
    }

    #[test]
    fn only_our_own_cursors_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(&dir.path().join("seal.key"), true).unwrap();
        for seq in [0, 1, 77, i64::MAX] {
            let cursor = write_cursor(&sealer, seq);
            assert_eq!(read_cursor(&sealer, &cursor), Some(seq));
            assert_eq!(read_cursor(&sealer, &cursor.to_uppercase()), None);
            assert_eq!(read_cursor(&sealer, &cursor[1..]), None);
        }
        for text in ["", "1", "ü", "zz", &"0".repeat(32), &"ü".repeat(16)] {
            assert_eq!(read_cursor(&sealer, text), None, "{text}");
        }
    }
}
