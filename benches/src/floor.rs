//! What no server on this machine can beat.

use std::process::{Command, Stdio};
use std::time::Instant;

use rusqlite::Connection;

/// Rows of about the size of a job's, inserted with `synchronous=FULL`, so many
/// a transaction. Rows a second.
pub(crate) fn sqlite_inserts(rows: usize, rows_a_transaction: usize) -> f64 {
    let dir = tempfile::tempdir_in("target").expect("run this where `target` is");
    let connection = Connection::open(dir.path().join("floor.db")).expect("open");
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .expect("set WAL");
    connection
        .pragma_update(None, "synchronous", "FULL")
        .expect("set FULL");
    connection
        .execute_batch("CREATE TABLE job (seq INTEGER PRIMARY KEY, id BLOB UNIQUE, body BLOB)")
        .expect("create");
    let body = vec![7_u8; 500];
    let began = Instant::now();
    let mut done = 0;
    while done < rows {
        connection.execute_batch("BEGIN IMMEDIATE").expect("begin");
        for _ in 0..rows_a_transaction {
            let id = u128::try_from(done).expect("few").to_be_bytes();
            let mut insert = connection
                .prepare_cached("INSERT INTO job (id, body) VALUES (?1, ?2)")
                .expect("prepare");
            insert.execute((&id[..], &body)).expect("insert");
            done += 1;
        }
        connection.execute_batch("COMMIT").expect("commit");
    }
    per_second(done, began)
}

/// Bare spawn-and-wait of `/bin/true`, on so many threads. Processes a second.
pub(crate) fn spawns(count: usize, threads: usize) -> f64 {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..count / threads).for_each(|_| spawn("/bin/true", &[])));
        }
    });
    per_second(count / threads * threads, began)
}

/// Bare spawn-and-wait of a shell with this script, in milliseconds.
pub(crate) fn shell_millis(script: &str, count: usize) -> Vec<f64> {
    (0..count)
        .map(|_| {
            let began = Instant::now();
            spawn("/bin/sh", &["-eu", "-c", script]);
            began.elapsed().as_secs_f64() * 1_000.0
        })
        .collect()
}

fn spawn(program: &str, arguments: &[&str]) {
    let done = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    assert!(done.expect("spawn").success());
}

/// How often a second, for a count since a moment.
pub(crate) fn per_second(count: usize, began: Instant) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of a benchmark are small"
    )]
    let count = count as f64;
    count / began.elapsed().as_secs_f64()
}
