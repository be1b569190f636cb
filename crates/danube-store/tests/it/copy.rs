//! A copy of a store that is written meanwhile is one moment of it; and what was restored
//! from a copy is safe from whoever knew the store as it was later.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use danube_model::{Cause, JobId, State, Timestamp};
use danube_store::{Filter, OpenError, Pinned, Resumed, Snapshot, Store};

use crate::credentials::{CANARY, credential};
use crate::rotation::rotate;
use crate::support::{assignment, claim, ended, is_fenced, new_job, open, running, store, submit};

/// Makes the copy a directory with the keys, as a restore does.
fn copied(pinned: Pinned, dir: &Path) -> Store {
    let keys = pinned.seal_keys();
    let copy = pinned.copy_to(&dir.join("danube.db"), || true);
    let copy = copy.unwrap().unwrap();
    assert_eq!(copy.check(true).unwrap(), Vec::<String>::new());
    copy.is_opened_by(&keys).unwrap();
    drop(copy);
    put_keys(dir, &keys);
    open(dir)
}

fn put_keys(dir: &Path, keys: &[u8]) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600);
    file.open(dir.join("seal.key"))
        .unwrap()
        .write_all(keys)
        .unwrap();
}

fn ids(store: &Store) -> BTreeSet<JobId> {
    let page = store.list(&Filter::default(), None, 100_000).unwrap();
    page.items.into_iter().map(|it| it.id).collect()
}

#[test]
fn a_copy_is_one_moment_however_much_is_written_meanwhile() {
    let (store, _dir) = store();
    let made = store.create_credential(credential("web", CANARY), "a");
    made.wait().unwrap();
    let before: BTreeSet<JobId> = (0..200).map(|_| submit(&store).id).collect();
    let (done, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let target = tempfile::tempdir().unwrap();
    let restored = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let attempt = claim(&store, submit(&store).id).attempt;
                    let end = store.finish(attempt, ended(Cause::Succeeded));
                    end.wait().unwrap();
                    written.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while written.load(Ordering::Relaxed) < 20 {
            thread::yield_now();
        }
        let pinned = store.pin().unwrap();
        let (then, bytes) = (written.load(Ordering::Relaxed), pinned.bytes());
        // More than the writer writes back at once comes before the copy begins.
        while written.load(Ordering::Relaxed) < then + 300 {
            thread::yield_now();
        }
        let restored = copied(pinned, target.path());
        done.store(true, Ordering::Relaxed);
        assert!(bytes > 0);
        restored
    });
    let found = ids(&restored);
    assert!(found.is_superset(&before), "what was there is there");
    assert!(
        ids(&store).len() >= found.len() + 300,
        "and what came later isn't"
    );
    let attempt = running(&restored);
    let given = restored.resolve_credentials(attempt, vec!["web".into()]);
    assert_eq!(given.wait().unwrap(), [credential("web", CANARY)]);
}

#[test]
fn the_keys_of_a_moment_open_it_also_when_they_are_replaced_around_it() {
    let (store, _dir) = store();
    for _ in 0..100 {
        submit(&store);
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                rotate(&store);
            }
        });
        for _ in 0..10 {
            let target = tempfile::tempdir().unwrap();
            let restored = copied(store.pin().unwrap(), target.path());
            for id in ids(&restored) {
                assert_eq!(claim(&restored, id).order, new_job("build").order);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn whoever_says_stop_is_heard_and_a_file_that_is_there_is_left_alone() {
    let (store, dir) = store();
    submit(&store);
    let path = dir.path().join("copy");
    assert!(
        store
            .pin()
            .unwrap()
            .copy_to(&path, || false)
            .unwrap()
            .is_none()
    );
    assert!(store.pin().unwrap().copy_to(&path, || true).is_err());
}

#[test]
fn a_stopped_directory_is_copied_and_stays_as_it_is() {
    let (first, dir) = store();
    let job = submit(&first);
    assert!(first.close(Duration::from_secs(10)));
    drop(first);
    let before = std::fs::read(dir.path().join("danube.db")).unwrap();
    let target = tempfile::tempdir().unwrap();
    let restored = copied(Pinned::of_stopped(dir.path()).unwrap(), target.path());
    assert_eq!(ids(&restored), BTreeSet::from([job.id]));
    assert_eq!(std::fs::read(dir.path().join("danube.db")).unwrap(), before);
    assert!(!dir.path().join("danube.db-wal").exists());

    std::fs::remove_file(dir.path().join("seal.key")).unwrap();
    let refused = Pinned::of_stopped(dir.path()).err().unwrap();
    assert!(matches!(refused, OpenError::SealKeyMissing { .. }));
}

#[test]
fn a_copy_says_which_logs_there_must_be() {
    let (store, _dir) = store();
    let done = running(&store);
    store.finish(done, ended(Cause::Succeeded)).wait().unwrap();
    let gone = running(&store);
    store.finish(gone, ended(Cause::Succeeded)).wait().unwrap();
    store.log_deleted(gone.job).wait().unwrap();
    let held = running(&store);
    submit(&store);
    let pinned = store.pin().unwrap();
    assert_eq!(pinned.begun(10).unwrap(), [held.job]);
    let target = tempfile::tempdir().unwrap();
    let path = target.path().join("danube.db");
    let copy = pinned.copy_to(&path, || true).unwrap().unwrap();
    let counts = copy.counts().unwrap();
    assert_eq!((counts.jobs, counts.live), (4, 2));
    let claims = copy.logs(0, 2).unwrap();
    let claims = [claims.clone(), copy.logs(claims[1].seq, 2).unwrap()].concat();
    let needed: Vec<(JobId, bool)> = claims.iter().map(|it| (it.job, it.needs_log())).collect();
    assert_eq!(
        needed,
        [(done.job, true), (gone.job, false), (held.job, false)]
    );
    assert_eq!(
        (claims[0].log_bytes, claims[0].log_complete),
        (3, Some(true))
    );
    // Another store's keys don't open it.
    let (_other, keys) = crate::support::store();
    let keys = std::fs::read(keys.path().join("seal.key")).unwrap();
    let refused = copy.is_opened_by(&keys).err().unwrap();
    assert!(matches!(refused, OpenError::SealKeyWrong { .. }));
    // A byte that is another, and it isn't well any more.
    drop(copy);
    let mut bytes = std::fs::read(&path).unwrap();
    for page in bytes.chunks_mut(4096).skip(1) {
        page[..64].fill(0xa5);
    }
    std::fs::write(&path, bytes).unwrap();
    let broken = Snapshot::open(&path).and_then(|it| {
        let damaged = |detail| OpenError::Corrupt {
            path: path.clone(),
            detail,
        };
        match it.check(true) {
            Ok(lines) if lines.is_empty() => Ok(()),
            Ok(lines) => Err(damaged(lines.join("; "))),
            Err(error) => Err(damaged(error.to_string())),
        }
    });
    assert!(
        matches!(broken, Err(OpenError::Corrupt { .. })),
        "{broken:?}"
    );
}

/// A store as it was, and the same store again, taken out of a backup and made ready.
fn restored_twice(store: &Store) -> [(Store, tempfile::TempDir, Resumed); 2] {
    [(), ()].map(|()| {
        let target = tempfile::tempdir().unwrap();
        let restored = copied(store.pin().unwrap(), target.path());
        let resumed = restored.restored(Timestamp::now()).wait().unwrap();
        (restored, target, resumed)
    })
}

#[test]
fn a_worker_from_after_the_backup_holds_nothing_of_what_was_restored() {
    let (store, _dir) = store();
    let waiting = submit(&store).id;
    let held = running(&store);
    let restored = restored_twice(&store);
    // Life went on after the backup: the waiting job was claimed again and again.
    let mut shown = vec![held];
    for _ in 0..2 {
        let attempt = claim(&store, waiting).attempt;
        store.lease_lost(attempt, "gone").wait().unwrap();
        shown.push(attempt);
    }
    for (first, second) in [(0, 1), (1, 0)] {
        let (store, ..) = &restored[first];
        // As a master does at its start.
        for it in store.leased().unwrap() {
            assert_eq!(it.attempt.job, held.job);
            store.lease_lost(it.attempt, "restarted").wait().unwrap();
        }
        let mut own = vec![
            claim(store, waiting).attempt,
            claim(store, held.job).attempt,
        ];
        for attempt in &shown {
            assert!(is_fenced(
                &store.finish(*attempt, ended(Cause::Succeeded)).wait()
            ));
        }
        // Nor does one of the other life after the same backup.
        let (other, ..) = &restored[second];
        for attempt in &own {
            assert!(is_fenced(
                &other.finish(*attempt, ended(Cause::Succeeded)).wait()
            ));
        }
        // A backup of what was restored goes on from there.
        let again = tempfile::tempdir().unwrap();
        let again_store = copied(store.pin().unwrap(), again.path());
        again_store.restored(Timestamp::now()).wait().unwrap();
        let fence = again_store.leased().unwrap()[0].attempt.fence;
        assert!(fence > own[0].fence && fence < 1 << 53, "{fence}");
        for attempt in own.drain(..) {
            assert!(is_fenced(
                &again_store.finish(attempt, ended(Cause::Succeeded)).wait()
            ));
            store
                .finish(attempt, ended(Cause::Succeeded))
                .wait()
                .unwrap();
        }
    }
}

#[test]
fn what_may_run_once_is_not_run_again_and_the_rest_says_that_it_may_have_run() {
    let (store, _dir) = store();
    let mut once = new_job("once");
    once.retry_on_lost = false;
    let once = store.submit(once).wait().unwrap().job.id;
    let again = submit(&store).id;
    let done = running(&store);
    let before = store.finish(done, ended(Cause::Succeeded)).wait().unwrap();
    let [(restored, _target, resumed), _] = restored_twice(&store);
    assert_eq!((resumed.go_on, resumed.given_up), (1, 1));

    let job = restored.job(once).unwrap().unwrap();
    assert_eq!(job.state, State::Failure);
    let reason = job.reason.unwrap();
    assert!(
        reason.contains("restored from the backup of") && reason.contains("at most once"),
        "{reason}"
    );
    let moves = restored.history(once).unwrap().unwrap();
    let causes: Vec<&str> = moves.iter().map(|it| it.cause.as_str()).collect();
    assert_eq!(causes, ["submitted", "claimed", "lease_lost"]);

    assert_eq!(restored.job(done.job).unwrap().unwrap(), before);
    let claims = restored.claim(vec![assignment(once), assignment(again)]);
    let claimed = claims.wait().unwrap().claimed;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].attempt.job, again);
    let end = restored.finish(claimed[0].attempt, ended(Cause::Succeeded));
    let job = end.wait().unwrap();
    assert!(job.reason.unwrap().contains("it may have run since"));
}
