//! A server with a past: some jobs that really ran, and copies of their rows.

use std::path::Path;

use danube_bench::client::Client;
use danube_bench::jobs::drained;
use danube_bench::server::Server;
use rusqlite::Connection;

/// The pages, by name and path; `{job}` is a job that really ran, and failed.
pub(crate) const PAGES: [(&str, &str); 17] = [
    ("jobs", "/"),
    ("jobs, failed", "/?status=failure,timeout"),
    ("jobs, failures first", "/?failed_first=1"),
    ("jobs of a pipeline", "/?pipeline=pipeline-7"),
    ("job that failed", "/jobs/{job}"),
    ("log", "/jobs/{job}/log"),
    ("trace", "/jobs/{job}/trace"),
    ("pipelines", "/pipelines"),
    ("pipeline", "/pipelines/pipeline-7"),
    ("dashboards", "/dashboards"),
    ("alerts", "/alerts"),
    ("health", "/checks"),
    ("signals", "/signals"),
    ("workers", "/workers"),
    ("secrets", "/secrets"),
    ("API keys", "/keys"),
    ("webhooks", "/webhooks"),
];

/// Pipelines that the jobs are of.
const PIPELINES: usize = 50;

/// Jobs that really run: two of each pipeline, one of which fails.
const REAL: usize = 2 * PIPELINES;

/// Makes a data directory with so many jobs; returns one that failed.
pub(crate) fn fill(program: &Path, dir: &Path, jobs: usize) -> String {
    let failed = {
        let server = Server::start_in(program, dir, &[], &[]);
        let mut client = Client::new(&server);
        let mut last = String::new();
        for number in 0..REAL {
            let pipeline = number % PIPELINES;
            let end = if number < PIPELINES { "true" } else { "exit 3" };
            let body = format!(
                "{{\"spec\":{{\"name\":\"pipeline-{pipeline}\",\"steps\":[\
                 {{\"name\":\"build\",\"run\":\"seq 1 200\"}},\
                 {{\"name\":\"test\",\"run\":\"seq 1 200; echo 'error: it broke' >&2; {end}\"}}]}}}}"
            );
            last = client.submit_body(&body);
        }
        drained(&server);
        assert!(server.stop(), "the server ended well");
        last
    };
    let mut connection = Connection::open(dir.join("danube.db")).expect("open the database");
    copy(&mut connection, jobs.saturating_sub(REAL)).expect("copy rows");
    failed
}

/// Puts copies of the rows of jobs before those that ran, each with an id of its own.
fn copy(connection: &mut Connection, count: usize) -> rusqlite::Result<()> {
    let columns: Vec<String> = connection
        .prepare("SELECT name FROM pragma_table_info('jobs')")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let tx = connection.transaction()?;
    // Those that ran stay the newest.
    tx.execute_batch(&format!(
        "CREATE TEMP TABLE moved AS SELECT * FROM jobs;
         CREATE TEMP TABLE numbers AS WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT {count}) SELECT n FROM n;"
    ))?;
    let shift = i64::try_from(count).expect("a count of jobs");
    for table in tables(&tx)? {
        tx.execute(&format!("UPDATE {table} SET seq = -seq - {shift}"), [])?;
        tx.execute(&format!("UPDATE {table} SET seq = -seq"), [])?;
    }
    let values: Vec<String> = columns
        .iter()
        .map(|it| match it.as_str() {
            "seq" => "n".to_owned(),
            "id" => "randomblob(16)".to_owned(),
            other => format!("moved.{other}"),
        })
        .collect();
    tx.execute(
        &format!(
            "INSERT INTO jobs ({}) SELECT {} FROM numbers JOIN moved ON moved.seq = 1 + (n * 7919) % {REAL}",
            columns.join(", "),
            values.join(", ")
        ),
        [],
    )?;
    tx.execute_batch("DROP TABLE moved; DROP TABLE numbers;")?;
    tx.commit()
}

/// The tables that name a job by its seq.
fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(
            "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
             WHERE m.type = 'table' AND c.name = 'seq' AND m.name <> 'audit'",
        )?
        .query_map([], |row| row.get(0))?
        .collect()
}
