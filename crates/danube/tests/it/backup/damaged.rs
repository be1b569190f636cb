//! Archives that aren't whole or right: each is found, and nothing of it is restored.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;

use super::archive::{Entry, entries, entry, vouch, write};
use super::{check, restore, some_backup, verified};

/// That an archive fails in this check, with these words; and that a restore of it
/// leaves nothing.
#[track_caller]
fn fails(file: &Path, name: &str, words: &[&str]) -> Value {
    let (code, said) = verified(file);
    let (status, detail) = check(&said, name);
    assert_eq!((code, status.as_str()), (1, "failed"), "{said}");
    for word in words {
        assert!(detail.contains(word), "no {word:?} in {said}");
    }
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let output = restore(&[file.to_str().unwrap(), "--data-dir", dir.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("nothing was restored"), "{told}");
    let left: Vec<_> = fs::read_dir(own.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    said
}

/// An archive that was changed by its entries. `vouched`: its list of hashes fits.
fn changed(file: &Path, vouched: bool, change: impl FnOnce(&mut Vec<Entry>)) -> tempfile::TempPath {
    let mut all = entries(file);
    change(&mut all);
    if vouched {
        vouch(&mut all);
    }
    let out = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    write(&out, &all);
    out
}

/// The name of some log, and its job.
fn some_log(file: &Path) -> (String, String) {
    let all = entries(file);
    let log = all.iter().find(|it| it.name.ends_with(".log")).unwrap();
    let job = log.name.trim_start_matches("data/logs/");
    (log.name.clone(), job.trim_end_matches(".log").to_owned())
}

#[test]
fn a_good_one_is_good_also_when_it_was_written_anew() {
    let (_own, file) = some_backup();
    let (code, said) = verified(&file);
    assert_eq!(code, 0, "{said}");
    for name in ["archive", "checksums", "database", "key", "logs"] {
        assert_eq!(check(&said, name).0, "ok", "{said}");
    }
    let (code, said) = verified(&changed(&file, true, |_| {}));
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_flipped_byte_is_found_wherever_it_is() {
    let (_own, file) = some_backup();
    let bytes = fs::read(&file).unwrap();
    let (log, _) = some_log(&file);
    for name in ["data/danube.db", &log, "data/seal.key", "data/admin.key"] {
        let flipped = changed(&file, false, |all| {
            let content = &mut entry(all, name).content;
            let middle = content.len() / 2;
            content[middle] ^= 1;
        });
        fails(&flipped, "checksums", &[name, "was changed"]);
    }
    let flipped = changed(&file, false, |all| {
        entry(all, "SHA256SUMS").content[3] ^= 1;
    });
    fails(&flipped, "checksums", &["SHA256SUMS was changed"]);
    // Anywhere: a header, padding apart, is either broken or names something else.
    for at in [0, 100, 130, bytes.len() / 3, bytes.len() / 2] {
        let mut other = bytes.clone();
        other[at] ^= 1;
        let out = tempfile::NamedTempFile::new().unwrap();
        fs::write(out.path(), other).unwrap();
        let (code, said) = verified(out.path());
        assert_eq!(code, 1, "byte {at}: {said}");
    }
}

#[test]
fn a_missing_file_is_found_also_when_the_list_was_made_to_fit() {
    let (_own, file) = some_backup();
    let (log, job) = some_log(&file);
    let without = |name: &str| {
        let name = name.to_owned();
        move |all: &mut Vec<Entry>| all.retain(|it| it.name != name)
    };
    let missing = changed(&file, false, without(&log));
    fails(&missing, "checksums", &[&log, "is missing"]);
    let missing = changed(&file, true, without(&log));
    fails(&missing, "logs", &[&job, "is missing"]);
    let shorter = changed(&file, true, |all| {
        entry(all, &log).content.pop();
    });
    fails(&shorter, "logs", &[&job, "bytes"]);
    fails(
        &changed(&file, true, without("data/danube.db")),
        "database",
        &["none"],
    );
    let more = changed(&file, false, |all| {
        let job = "0192f3a4-5b6c-7d8e-9f00-112233445566";
        let mut other = entry(all, &log).clone();
        other.name = format!("data/logs/{job}.log");
        all.insert(2, other);
    });
    fails(&more, "checksums", &["isn't in the list"]);
}

#[test]
fn one_that_was_cut_off_is_found_wherever_it_was() {
    let (_own, file) = some_backup();
    let bytes = fs::read(&file).unwrap();
    // The last two blocks only end it.
    let whole = bytes.len() - 2 * 512;
    for length in [
        0,
        1,
        511,
        512,
        700,
        whole / 3,
        whole / 2,
        whole - 512,
        whole - 1,
    ] {
        let out = tempfile::NamedTempFile::new().unwrap();
        fs::write(out.path(), &bytes[..length]).unwrap();
        fails(out.path(), "archive", &[]);
    }
    let out = tempfile::NamedTempFile::new().unwrap();
    fs::write(out.path(), [&bytes[..], b"and more"].concat()).unwrap();
    fails(out.path(), "archive", &["something follows"]);
}

#[test]
fn names_and_kinds_that_no_backup_has_are_refused() {
    let (_own, file) = some_backup();
    let (log, _) = some_log(&file);
    let hostile = |name: &str, kind: u8| Entry {
        name: name.to_owned(),
        kind,
        content: Vec::new(),
    };
    for (name, kind) in [
        ("data/../../evil", b'0'),
        ("/etc/cron.d/evil", b'0'),
        ("data/logs/../../evil.log", b'0'),
        ("data/pipelines/../evil.yaml", b'0'),
        ("./data/danube.db", b'0'),
        ("data/danube.db-wal", b'0'),
        ("data/work", b'5'),
        ("data/pipelines/link.yaml", b'2'),
        ("data/pipelines/hard.yaml", b'1'),
        ("data/pipelines/device.yaml", b'3'),
        ("data/pipelines/fifo.yaml", b'6'),
        ("././@LongLink", b'L'),
        ("PaxHeader", b'x'),
    ] {
        let archive = changed(&file, true, |all| all.insert(2, hostile(name, kind)));
        let said = fails(&archive, "archive", &[]);
        let detail = check(&said, "archive").1;
        assert!(detail.contains(name), "{name}: {detail}");
    }
    let twice = changed(&file, true, |all| {
        let other = entry(all, &log).clone();
        all.insert(2, other);
    });
    fails(&twice, "archive", &["is there twice"]);
    let late = changed(&file, true, |all| {
        let last = all.len() - 1;
        all.swap(2, last);
    });
    fails(&late, "archive", &[]);
}

#[test]
fn a_key_of_another_server_is_found() {
    let (_own, file) = some_backup();
    let other = changed(&file, true, |all| {
        entry(all, "data/seal.key").content = vec![7; 32];
    });
    fails(&other, "key", &["isn't the key of this database"]);
    let short = changed(&file, true, |all| {
        entry(all, "data/seal.key").content = vec![7; 31];
    });
    fails(&short, "key", &[]);
}

#[test]
fn a_damaged_a_foreign_and_a_newer_database_are_found_under_fitting_hashes() {
    let (_own, file) = some_backup();
    let damaged = changed(&file, true, |all| {
        let database = &mut entry(all, "data/danube.db").content;
        for page in database.chunks_mut(4096).skip(1) {
            page[..64].fill(0xa5);
        }
    });
    fails(&damaged, "database", &["is damaged"]);
    let with = |sql: &str| {
        changed(&file, true, |all| {
            let database = entry(all, "data/danube.db");
            let path = tempfile::NamedTempFile::new().unwrap();
            fs::write(path.path(), &database.content).unwrap();
            let connection = Connection::open(path.path()).unwrap();
            connection.execute_batch(sql).unwrap();
            let mode = "PRAGMA journal_mode = DELETE";
            connection.query_row(mode, [], |_| Ok(())).unwrap();
            drop(connection);
            database.content = fs::read(path.path()).unwrap();
        })
    };
    fails(
        &with("PRAGMA user_version = 99"),
        "database",
        &["has schema 99"],
    );
    fails(
        &with("PRAGMA application_id = 7"),
        "database",
        &["another program"],
    );
    fails(&with("DELETE FROM jobs"), "database", &["number of jobs"]);
}

#[test]
fn what_is_no_backup_or_of_a_newer_danube_is_told_apart() {
    let (_own, file) = some_backup();
    let newer = changed(&file, true, |all| {
        let about = &mut entry(all, "about.json").content;
        let text = String::from_utf8(about.clone()).unwrap();
        *about = text.replace("\"format\": 1", "\"format\": 2").into_bytes();
    });
    fails(
        &newer,
        "archive",
        &["format 2", "use the version that made it"],
    );
    for text in ["", "notes of a person\n", &"x".repeat(2_000)] {
        let out = tempfile::NamedTempFile::new().unwrap();
        fs::write(out.path(), text).unwrap();
        fails(out.path(), "archive", &[]);
    }
}
