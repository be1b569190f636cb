//! What a store refuses to open, and that it changes nothing then.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use danube_store::{OpenError, Options, Store};
use rusqlite::Connection;
use sha2::{Digest, Sha256};

use crate::support::{reopened, store, submit};

fn refusal(dir: &Path) -> OpenError {
    match Store::open(dir, Options::default()) {
        Ok(_) => panic!("the store must not open"),
        Err(error) => error,
    }
}

/// A store with some jobs, closed.
fn closed() -> tempfile::TempDir {
    let (store, dir) = store();
    for _ in 0..20 {
        submit(&store);
    }
    assert!(store.close(Duration::from_secs(10)));
    dir
}

/// The hash of every file, by name.
fn files(dir: &Path) -> BTreeMap<String, [u8; 32]> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let bytes = fs::read(entry.path()).unwrap();
            (name, Sha256::digest(bytes).into())
        })
        .collect()
}

#[test]
fn files_are_for_their_owner_only() {
    let (store, dir) = store();
    submit(&store);
    for name in ["danube.db", "danube.db-wal", "danube.db-shm", "seal.key"] {
        let mode = fs::metadata(dir.path().join(name)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_directory_is_made_when_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a").join("b");
    submit(&crate::support::open(&deep));
    let mode = fs::metadata(&deep).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_newer_schema_is_refused_and_nothing_is_changed() {
    let dir = closed();
    let connection = Connection::open(dir.path().join("danube.db")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    connection.close().unwrap();
    let before = files(dir.path());
    let error = refusal(dir.path());
    assert!(matches!(
        error,
        OpenError::NewerSchema {
            found: 99,
            known: 19,
            ..
        }
    ));
    assert!(error.to_string().contains("start the newer version"));
    assert_eq!(files(dir.path()), before);
}

#[test]
fn a_damaged_page_is_refused_and_nothing_is_changed() {
    for page in 0..4 {
        let dir = closed();
        let path = dir.path().join("danube.db");
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xa5; 4096], page * 4096).unwrap();
        let before = files(dir.path());
        let error = refusal(dir.path());
        assert!(
            matches!(error, OpenError::Corrupt { .. }),
            "{page}: {error}"
        );
        assert!(error.to_string().contains("restore a backup"));
        assert_eq!(files(dir.path()), before);
    }
}

#[test]
fn the_database_of_another_program_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let connection = Connection::open(dir.path().join("danube.db")).unwrap();
    connection.execute_batch("CREATE TABLE a (b)").unwrap();
    connection.close().unwrap();
    let before = files(dir.path());
    assert!(matches!(refusal(dir.path()), OpenError::Foreign { .. }));
    assert_eq!(files(dir.path()), before);
}

#[test]
fn a_missing_wrong_or_readable_sealing_key_is_refused() {
    let dir = closed();
    let key = dir.path().join("seal.key");
    let good = fs::read(&key).unwrap();
    assert_eq!(good.len(), 32);

    fs::remove_file(&key).unwrap();
    let before = files(dir.path());
    assert!(matches!(
        refusal(dir.path()),
        OpenError::SealKeyMissing { .. }
    ));
    assert_eq!(files(dir.path()), before, "no new key was made");

    for wrong in [vec![1; 32], vec![1; 31], good.repeat(2), Vec::new()] {
        fs::write(&key, wrong).unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(
            refusal(dir.path()),
            OpenError::SealKeyWrong { .. }
        ));
    }

    fs::write(&key, good).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    let error = refusal(dir.path());
    assert!(matches!(
        error,
        OpenError::SealKeyExposed { mode: 0o640, .. }
    ));

    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let store = crate::support::open(dir.path());
    assert_eq!(store.counts().pending, 20);
}

#[test]
fn a_start_that_was_killed_early_doesnt_hinder_the_next() {
    // The key was made, and half of the next one; the database is empty.
    let dir = tempfile::tempdir().unwrap();
    submit(&crate::support::open(dir.path()));
    for name in ["danube.db", "danube.db-wal", "danube.db-shm"] {
        let _ = fs::remove_file(dir.path().join(name));
    }
    fs::write(dir.path().join("danube.db"), "").unwrap();
    fs::write(dir.path().join("seal.key.new"), "half").unwrap();
    let store = crate::support::open(dir.path());
    submit(&store);
    let store = reopened(store, dir.path());
    assert_eq!(store.counts().pending, 1);
}
