//! The sealing key is replaced while everything goes on, and whenever it is
//! interrupted nothing is lost.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use danube_model::JobId;
use danube_store::{Idempotency, OpenError, Options, Resealed, Rotation, Store};
use rusqlite::Connection;

use crate::credentials::{CANARY, credential};
use crate::pipeline_secrets::{given, put, running};
use crate::support::{back_to_schema_2, claim, new_job, open, order, reopened, store, submit};

fn keys(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("seal.key")).unwrap()
}

fn step(store: &Store, at: Rotation) -> Resealed {
    store.reseal_some(at).wait().unwrap()
}

/// A whole rotation; how many rows it sealed anew.
pub(crate) fn rotate(store: &Store) -> u64 {
    let begun = store.begin_rotation().wait().unwrap();
    assert!(begun.has_old_keys);
    finish(store)
}

fn finish(store: &Store) -> u64 {
    let (mut at, mut rows) = (Rotation::default(), 0);
    loop {
        let done = step(store, at);
        assert_eq!(done.unreadable, 0);
        rows += done.rows;
        at = done.next;
        if done.is_done {
            return rows;
        }
    }
}

/// A store with jobs, a credential and a secret.
fn filled(jobs: usize) -> (Store, tempfile::TempDir, Vec<JobId>) {
    let (store, dir) = store();
    let jobs = (0..jobs).map(|_| submit(&store).id).collect();
    let made = store.create_credential(credential("web", CANARY), "a");
    made.wait().unwrap();
    put(&store, "token", None, CANARY);
    (store, dir, jobs)
}

fn all_is_readable(store: &Store, jobs: &[JobId]) {
    let attempt = running(store, "build", &["token"]);
    let web = store.resolve_credentials(attempt, vec!["web".into()]);
    assert_eq!(web.wait().unwrap(), [credential("web", CANARY)]);
    assert_eq!(given(store, attempt, "token").unwrap(), CANARY);
    for job in jobs {
        assert_eq!(claim(store, *job).order, order("build"));
    }
}

#[test]
fn after_a_rotation_everything_is_readable_and_the_old_key_is_gone() {
    let (store, dir, jobs) = filled(200);
    let before = keys(dir.path());
    let old_id = store.seal_state().key_id;
    // The words of the start, the credential, the secret and the orders.
    assert_eq!(rotate(&store), 2 + 2 + 200);
    let after = keys(dir.path());
    assert_eq!((before.len(), after.len()), (32, 32));
    assert_ne!(before, after);
    assert_ne!(store.seal_state().key_id, old_id);
    let mode = fs::metadata(dir.path().join("seal.key"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let store = reopened(store, dir.path());
    all_is_readable(&store, &jobs);
    assert_eq!(rotate(&store), 2 + 2 + 201, "and again");
    assert!(store.close(std::time::Duration::from_secs(10)));
    drop(store);

    // The old key opens nothing any more.
    fs::write(dir.path().join("seal.key"), before).unwrap();
    let refused = Store::open(dir.path(), Options::default());
    assert!(matches!(
        refused.err(),
        Some(OpenError::SealKeyWrong { .. })
    ));
}

/// As a kill between any two steps: the next start has both keys and begins again.
#[test]
fn a_rotation_that_is_interrupted_after_any_step_is_ended_by_the_next() {
    for stop_after in 0..8 {
        let (store, dir, jobs) = filled(150);
        store.begin_rotation().wait().unwrap();
        let mut at = Rotation::default();
        for _ in 0..stop_after {
            let done = step(&store, at);
            at = done.next;
            if done.is_done {
                break;
            }
        }
        let store = reopened(store, dir.path());
        let is_over = !store.seal_state().has_old_keys;
        assert_eq!(keys(dir.path()).len(), if is_over { 32 } else { 64 });
        let id = store.seal_state().key_id;
        if !is_over {
            // It goes on with the key that it has.
            let begun = store.begin_rotation().wait().unwrap();
            assert_eq!(begun.key_id, id);
            finish(&store);
        }
        let store = reopened(store, dir.path());
        assert!(!store.seal_state().has_old_keys);
        assert_eq!(store.seal_state().key_id, id);
        all_is_readable(&store, &jobs);
    }
}

#[test]
fn a_key_file_that_was_only_half_written_is_not_the_key_file() {
    let (store, dir, jobs) = filled(3);
    assert!(store.close(std::time::Duration::from_secs(10)));
    drop(store);
    fs::write(dir.path().join("seal.key.new"), [1; 40]).unwrap();
    let store = open(dir.path());
    rotate(&store);
    let store = reopened(store, dir.path());
    all_is_readable(&store, &jobs);
    assert!(!dir.path().join("seal.key.new").exists());
}

#[test]
fn submits_go_on_during_rotations_and_none_is_lost() {
    let (store, dir, mut jobs) = filled(100);
    let stop = AtomicBool::new(false);
    let made: Vec<JobId> = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut made = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        made.push(submit(&store).id);
                    }
                    made
                })
            })
            .collect();
        for _ in 0..5 {
            rotate(&store);
        }
        stop.store(true, Ordering::Relaxed);
        let made = clients.into_iter().map(|it| it.join().unwrap());
        made.flatten().collect()
    });
    assert!(!made.is_empty());
    jobs.extend(made);
    let store = reopened(store, dir.path());
    assert_eq!(keys(dir.path()).len(), 32);
    assert_eq!(store.counts().pending, jobs.len() as u64);
    for job in &jobs {
        assert_eq!(claim(&store, *job).order, order("build"));
    }
}

#[test]
fn a_repeated_submit_is_known_after_a_rotation_and_a_restart() {
    let (store, dir) = store();
    let mut job = new_job("build");
    job.idempotency = Some(Idempotency {
        key: "once".into(),
        body_sha256: [7; 32],
    });
    let first = store.submit(job.clone()).wait().unwrap().job.id;
    rotate(&store);
    let store = reopened(store, dir.path());
    rotate(&store);
    let store = reopened(store, dir.path());
    job.id = JobId::new();
    let again = store.submit(job).wait().unwrap();
    assert!(again.replayed);
    assert_eq!(again.job.id, first);
}

/// What a database looks like that the version before wrote: two tables less, and
/// no key of hashes of its own.
#[test]
fn an_older_database_is_taken_over_and_its_key_can_be_rotated() {
    let (store, dir, jobs) = filled(5);
    assert!(store.close(std::time::Duration::from_secs(10)));
    drop(store);
    let other = Connection::open(dir.path().join("danube.db")).unwrap();
    back_to_schema_2(&other);
    other.close().unwrap();
    let store = open(dir.path());
    assert_eq!(store.credentials().unwrap(), []);
    let made = store.create_credential(credential("web", CANARY), "a");
    made.wait().unwrap();
    put(&store, "token", None, CANARY);
    rotate(&store);
    let store = reopened(store, dir.path());
    all_is_readable(&store, &jobs);
}

#[test]
fn a_row_that_no_key_opens_is_counted_and_holds_nothing_up() {
    let (store, dir, _) = filled(3);
    let other = Connection::open(dir.path().join("danube.db")).unwrap();
    let spoil = "UPDATE orders SET sealed = x'02ff' WHERE seq = 2";
    other.execute_batch(spoil).unwrap();
    store.begin_rotation().wait().unwrap();
    let (mut at, mut unreadable) = (Rotation::default(), 0);
    loop {
        let done = step(&store, at);
        unreadable += done.unreadable;
        at = done.next;
        if done.is_done {
            break;
        }
    }
    assert_eq!(unreadable, 1);
    assert_eq!(keys(dir.path()).len(), 32);
}

#[test]
fn a_directory_that_can_t_be_written_refuses_a_rotation_and_changes_nothing() {
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere: a directory in the draft's place stops it too.
        let (store, dir, jobs) = filled(3);
        let before = keys(dir.path());
        fs::create_dir(dir.path().join("seal.key.new")).unwrap();
        let refused = store.begin_rotation().wait().unwrap_err();
        assert!(refused.to_string().contains("sealing keys"), "{refused}");
        assert_eq!(keys(dir.path()), before);
        all_is_readable(&store, &jobs);
        return;
    }
    let (store, dir, jobs) = filled(3);
    let before = keys(dir.path());
    fs::set_permissions(dir.path(), Permissions::from_mode(0o500)).unwrap();
    let refused = store.begin_rotation().wait().unwrap_err();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    assert!(refused.to_string().contains("sealing keys"), "{refused}");
    assert_eq!(keys(dir.path()), before);
    all_is_readable(&store, &jobs);
}
