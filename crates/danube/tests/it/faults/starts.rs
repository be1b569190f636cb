//! Starts that must be refused, and must change nothing: a directory in use, a database of a
//! newer version, a damaged one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use rusqlite::Connection;

use super::row::row;
use crate::master::{DANUBE, Master};

#[test]
fn the_second_master_on_a_directory_names_the_first_and_changes_nothing() {
    let row = row!("two masters on one directory");
    let first = Master::start();
    let id = first.run("echo one");
    first.ended(&id);
    // Its trace is written once somebody looks, at the latest.
    assert_eq!(first.get(&format!("/api/v1/jobs/{id}/trace")).status, 200);
    let before = files(&first.dir);
    let second = Command::new(DANUBE)
        .args(["master", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&first.dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(6), "{said}");
    assert!(said.contains(&format!("process {}", first.pid())), "{said}");
    assert!(said.contains(&first.address), "{said}");
    assert!(said.contains("--data-dir"), "no advice: {said}");
    assert!(files(&first.dir) == before, "something was changed");
    assert_eq!(first.job(&id)["status"], "success");
    assert_eq!(first.ended(&first.run("echo two"))["status"], "success");
    row.held(1, "");
}

/// Masters that are started at once.
const AT_ONCE: usize = 6;

#[test]
fn of_many_masters_that_start_at_once_one_serves_and_the_others_name_it() {
    let row = row!("two masters on one directory");
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let started: Vec<_> = thread::scope(|scope| {
        let all = (0..AT_ONCE).map(|_| scope.spawn(|| Master::try_start_in(&dir, &[])));
        let all: Vec<_> = all.collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let (serving, refused): (Vec<_>, Vec<_>) = started.into_iter().partition(Result::is_ok);
    assert_eq!(serving.len(), 1);
    for said in refused.into_iter().filter_map(Result::err) {
        assert!(said.contains("--data-dir"), "{said}");
    }
    let master = serving.into_iter().find_map(Result::ok).unwrap();
    assert_eq!(master.ended(&master.run("echo one"))["status"], "success");
    row.held(1, format!("{AT_ONCE} at once"));
}

/// Every file below `dir` with its bytes; directories with none.
pub(crate) fn files(dir: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        if path.is_dir() {
            found.insert(name, None);
            found.extend(files(&path));
        } else {
            found.insert(name, Some(fs::read(&path).unwrap()));
        }
    }
    found
}

/// A data directory in which a job ended and nobody lives.
fn used_directory() -> tempfile::TempDir {
    let own = tempfile::tempdir().unwrap();
    let mut master = Master::start_in(own.path(), &[]);
    master.ended(&master.run("echo one"));
    master.signal("TERM");
    assert!(master.wait().success());
    own
}

/// A start that must be refused, and must leave every file but the lock as it was.
#[track_caller]
fn refused(dir: &Path, words: &[&str]) {
    let mut before = files(dir);
    let said = Master::try_start_in(dir, &[])
        .err()
        .expect("it must not start");
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    let mut after = files(dir);
    let lock = dir.join("master.lock").display().to_string();
    for all in [&mut before, &mut after] {
        all.remove(&lock);
    }
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    assert!(before == after, "a file was changed");
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let row = row!("a newer or damaged database");
    let own = used_directory();
    let database = own.path().join("danube.db");
    let connection = Connection::open(&database).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    refused(
        own.path(),
        &["has schema 99", "start the newer version", "danube.db"],
    );
    row.held(1, "");
}

#[test]
fn a_corrupted_database_is_refused_and_left_alone() {
    let row = row!("a newer or damaged database");
    let own = used_directory();
    let database = own.path().join("danube.db");
    let pages = fs::metadata(&database).unwrap().len() / 4096;
    assert!(pages > 4);
    let file = fs::OpenOptions::new().write(true).open(&database).unwrap();
    for page in 1..pages {
        // What says of each page what it is.
        file.write_all_at(&[0xA5; 64], page * 4096).unwrap();
    }
    drop(file);
    refused(own.path(), &["is damaged", "restore a backup", "danube.db"]);
    row.held(1, "");
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let row = row!("a newer or damaged database");
    let own = tempfile::tempdir().unwrap();
    fs::create_dir(own.path().join("work")).unwrap();
    fs::write(
        own.path().join("danube.db"),
        "these are notes of a person\n".repeat(100),
    )
    .unwrap();
    refused(own.path(), &["is damaged", "danube.db"]);
    row.held(1, "");
}
