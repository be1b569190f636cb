//! Lists of jobs: newest first, by pages that stay put while jobs come in.

use danube_model::limits::PAGE_JOBS_MAX;
use danube_model::{Job, JobId, Page, State};
use rusqlite::{Connection, ToSql};

use crate::keys::patterns;
use crate::rows::{self, Record, columns};
use crate::seal::Sealer;
use crate::sight::Several;
use crate::{Filter, Sight, Store, StoreError};

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
        let records = self
            .inner
            .readers
            .read(|connection| page(connection, filter, below, limit + 1))?;
        let read = records.into_iter().map(|it| (it.seq, it.job));
        Ok(page_of(sealer, read.collect(), limit))
    }

    /// The jobs that `filter` shows of those that were accepted before this one, newest first,
    /// without their steps; at most `limit`. None for a job that isn't there.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn earlier(
        &self,
        filter: &Filter,
        than: JobId,
        limit: usize,
    ) -> Result<Vec<Job>, StoreError> {
        let limit = limit.clamp(1, PAGE_JOBS_MAX);
        self.inner.readers.read(|connection| {
            let Some(record) = rows::find(connection, than)? else {
                return Ok(Vec::new());
            };
            let found = page(connection, filter, record.seq, limit)?;
            Ok(found.into_iter().map(|it| it.job).collect())
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
    let of = match places(connection, filter)? {
        Places::None => return Ok(Vec::new()),
        Places::Several(several) => {
            return several.page(connection, &filter.states, (below, limit));
        }
        Places::One(of) => of,
    };
    if filter.states.is_empty() {
        return query(connection, (None, &of), below, limit);
    }
    let mut records = Vec::new();
    for state in State::ALL {
        if filter.states.contains(&state) {
            records.extend(query(connection, (Some(state), &of), below, limit)?);
        }
    }
    records.sort_by_key(|it| std::cmp::Reverse(it.seq));
    records.truncate(limit);
    Ok(records)
}

/// Where what a filter shows is looked for.
enum Places {
    None,
    One(Of),
    Several(Several),
}

fn places(connection: &Connection, filter: &Filter) -> Result<Places, StoreError> {
    let Some(pipeline) = &filter.pipeline else {
        return Ok(match &filter.sight {
            Sight::All => Places::One(Of::All),
            Sight::Patterns(all) => Several::fitting(connection, all)?
                .map_or_else(|| Places::One(Of::Sight(patterns(all))), Places::Several),
            Sight::Member(member) => Places::Several(Several::of(member, None)),
        });
    };
    let whole = || Places::One(Of::Pipeline(pipeline.clone()));
    Ok(match &filter.sight {
        Sight::All => whole(),
        Sight::Patterns(all) if sees(connection, all, pipeline)? => whole(),
        Sight::Member(member) if member.pipelines.contains(pipeline) => whole(),
        Sight::Member(member) if !member.declared.contains(pipeline) => {
            Places::Several(Several::of(member, Some(pipeline)))
        }
        Sight::Patterns(_) | Sight::Member(_) => Places::None,
    })
}

/// Whether one of the patterns fits.
fn sees(connection: &Connection, sight: &[String], pipeline: &str) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM json_each(?1) WHERE ?2 GLOB value)";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row((patterns(sight), pipeline), |row| row.get(0))?)
}

/// Which pipelines a list is of.
enum Of {
    All,
    Pipeline(String),
    /// Those that one of the patterns fits, as JSON.
    Sight(String),
}

fn query(
    connection: &Connection,
    (state, of): (Option<State>, &Of),
    below: i64,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let mut statement = connection.prepare_cached(sql(state, of))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let name = state.map(State::as_str);
    let mut values: Vec<(&str, &dyn ToSql)> = vec![(":below", &below), (":limit", &limit)];
    if let Some(name) = &name {
        values.push((":state", name));
    }
    match of {
        Of::All => {}
        Of::Pipeline(text) => values.push((":pipeline", text)),
        Of::Sight(text) => values.push((":sight", text)),
    }
    let rows = statement.query_map(values.as_slice(), rows::record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The statement for a filter. With both, the unary plus keeps SQLite from the
/// index that holds more rows: few jobs are pending or leased, many have ended.
fn sql(state: Option<State>, of: &Of) -> &'static str {
    macro_rules! list {
        ($($which:literal),+) => {
            concat!(
                "SELECT ",
                columns!(),
                " FROM jobs WHERE ",
                $($which,)+
                "seq < :below ORDER BY seq DESC LIMIT :limit"
            )
        };
    }
    macro_rules! seen {
        ($which:literal) => {
            list!(
                $which,
                "EXISTS (SELECT 1 FROM json_each(:sight) WHERE jobs.pipeline GLOB value) AND "
            )
        };
    }
    match (state, of) {
        (None, Of::All) => list!(""),
        (Some(_), Of::All) => list!("state = :state AND "),
        (None, Of::Pipeline(_)) => list!("pipeline = :pipeline AND "),
        (Some(state), Of::Pipeline(_)) if state.is_terminal() => {
            list!("+state = :state AND pipeline = :pipeline AND ")
        }
        (Some(_), Of::Pipeline(_)) => list!("state = :state AND +pipeline = :pipeline AND "),
        (None, Of::Sight(_)) => seen!(""),
        (Some(_), Of::Sight(_)) => seen!("state = :state AND "),
    }
}

/// A page of what was read newest first, each with its place: one more than `limit`, which says
/// whether there is a next page.
pub(crate) fn page_of<T>(sealer: &Sealer, mut read: Vec<(i64, T)>, limit: usize) -> Page<T> {
    let more = read.len() > limit;
    read.truncate(limit);
    let last = read.last().filter(|_| more);
    Page {
        next_cursor: last.map(|(seq, _)| write_cursor(sealer, *seq)),
        items: read.into_iter().map(|(_, it)| it).collect(),
    }
}

fn write_cursor(sealer: &Sealer, seq: i64) -> String {
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
        let all = states.flat_map(|state| {
            let of = [
                Of::All,
                Of::Pipeline(String::new()),
                Of::Sight(String::new()),
            ];
            of.map(|it| (state, it))
        });
        for (state, of) in all {
            let plan = plan(&connection, sql(state, &of));
            let index = match (state, of) {
                (None, Of::All | Of::Sight(_)) => "USING INTEGER PRIMARY KEY",
                (Some(state), Of::Pipeline(_)) if state.is_terminal() => "jobs_pipeline",
                (None, Of::Pipeline(_)) => "jobs_pipeline",
                (Some(_), _) => "jobs_state",
            };
            assert!(plan.starts_with("SEARCH") && plan.contains(index), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }

    #[test]
    fn what_somebody_sees_is_found_without_a_walk_over_what_others_did() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        for (sql, walks) in [
            (
                crate::sight::HEAD,
                "USING INDEX jobs_pipeline (pipeline=? AND rowid<?)",
            ),
            (
                crate::sight::OWN_HEAD,
                "USING COVERING INDEX job_users_user (user=? AND rowid<?)",
            ),
            (
                crate::sight::ACTIVE,
                "USING INDEX jobs_state (state=? AND rowid<?)",
            ),
        ] {
            let plan = plan(&connection, sql);
            assert!(
                plan.starts_with("SEARCH") && plan.contains(walks),
                "{sql}: {plan}"
            );
            assert!(!plan.contains("ORDER BY"), "{sql}: {plan}");
        }
    }

    #[test]
    fn the_other_reads_walk_an_index_too() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        for sql in [
            crate::read::WAITING,
            crate::read::NEXT_LANE,
            crate::read::FIRST_LANE,
            crate::jobs::OLDER,
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
