//! Backups of a data directory, whether a master works in it or not.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::{restored, verified};
use crate::master::{DANUBE, Master};

/// `danube backup --data-dir`, with nothing that names a server.
fn backup_of(dir: &Path, file: &Path) -> Output {
    Command::new(DANUBE)
        .args(["backup", "--output", "json"])
        .arg(file)
        .arg("--data-dir")
        .arg(dir)
        .env_remove("DANUBE_SERVER")
        .env_remove("DANUBE_API_KEY")
        .output()
        .unwrap()
}

#[track_caller]
fn taken_of(dir: &Path, file: &Path) -> Value {
    let output = backup_of(dir, file);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_directory_is_backed_up_by_its_server_or_without_one() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    let job = master.ended(&master.run("echo one"));
    let serving = taken_of(&dir, &own.path().join("serving.tar"));
    assert_eq!(serving["manifest"]["serving"], true, "{serving}");
    // Killed: what SQLite's log holds belongs to it.
    let other = master.ended(&master.run("echo two"));
    master.kill();
    let database = fs::read(dir.join("danube.db")).unwrap();
    let log = fs::read(dir.join("danube.db-wal")).unwrap();
    assert!(!log.is_empty());
    let file = own.path().join("stopped.tar");
    let stopped = taken_of(&dir, &file);
    assert_eq!(stopped["manifest"]["serving"], false, "{stopped}");
    assert_eq!(stopped["manifest"]["jobs"], 2, "{stopped}");
    assert!(fs::read(dir.join("danube.db")).unwrap() == database);
    assert!(fs::read(dir.join("danube.db-wal")).unwrap() == log);
    assert!(!dir.join("danube.db.copy").exists());
    let (code, said) = verified(&file);
    assert_eq!(code, 0, "{said}");
    let copy = own.path().join("copy");
    restored(&file, &copy);
    let master = Master::start_in(&copy, &[]);
    for job in [job, other] {
        let id = crate::master::id(&job);
        assert_eq!(master.job(&id), job);
        assert_eq!(master.log(&id).len(), 4);
    }
}

#[test]
fn what_is_no_data_directory_is_said_to_be_none_and_stays_empty() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("empty");
    fs::create_dir(&dir).unwrap();
    let file = own.path().join("b.tar");
    let output = backup_of(&dir, &file);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(!file.exists());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    // A key that is missing is told before anything is written.
    let used = own.path().join("used");
    let mut master = Master::start_in(&used, &[]);
    master.kill();
    fs::remove_file(used.join("seal.key")).unwrap();
    let output = backup_of(&used, &file);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("seal.key is missing"), "{told}");
    assert!(!file.exists());
}
