//! The blueprint in force: whole, sealed, of one repository.

use std::fs;

use crate::rotation::rotate;
use crate::support::{reopened, store};

const CANARY: &str = "canary-51c07ff2e9";

#[test]
fn the_last_good_one_stays_until_another_is_taken() {
    let (store, dir) = store();
    assert_eq!(store.blueprint("a").unwrap(), None);
    store
        .note_blueprint("a", Some("away".into()))
        .wait()
        .unwrap();
    let none = store.blueprint("a").unwrap().unwrap();
    assert_eq!((none.taken, none.failure.as_deref()), (None, Some("away")));

    let at = store.take_blueprint("a", "c1", "one".into());
    let at = at.wait().unwrap();
    store
        .note_blueprint("a", Some("bad".into()))
        .wait()
        .unwrap();
    let store = reopened(store, dir.path());
    let kept = store.blueprint("a").unwrap().unwrap();
    let taken = kept.taken.unwrap();
    assert_eq!((taken.commit.as_str(), taken.at), ("c1", at));
    assert_eq!(taken.content, "one");
    assert_eq!(kept.failure.as_deref(), Some("bad"));
    store.note_blueprint("a", None).wait().unwrap();
    assert_eq!(store.blueprint("a").unwrap().unwrap().failure, None);

    // Another repository's is none of ours, and goes once that is followed.
    assert_eq!(store.blueprint("b").unwrap(), None);
    store.note_blueprint("b", None).wait().unwrap();
    assert_eq!(store.blueprint("a").unwrap(), None);
    assert_eq!(store.blueprint("b").unwrap().unwrap().taken, None);
}

#[test]
fn what_it_declares_is_sealed_and_outlives_the_key() {
    let (store, dir) = store();
    let content = format!("TOKEN: {CANARY}");
    store
        .take_blueprint("a", "c1", content.clone())
        .wait()
        .unwrap();
    let failure = format!("wrong: {CANARY}");
    store
        .note_blueprint("a", Some(failure.clone()))
        .wait()
        .unwrap();
    assert!(rotate(&store) >= 2);
    let store = reopened(store, dir.path());
    let kept = store.blueprint("a").unwrap().unwrap();
    assert_eq!(kept.taken.unwrap().content, content);
    assert_eq!(kept.failure, Some(failure));
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let is_clear = bytes
            .windows(CANARY.len())
            .any(|it| it == CANARY.as_bytes());
        assert!(!is_clear, "{}", path.display());
    }
}

#[test]
fn what_was_sealed_for_another_commit_opens_nothing() {
    let (store, dir) = store();
    store
        .take_blueprint("a", "c1", "one".into())
        .wait()
        .unwrap();
    assert!(store.close(std::time::Duration::from_secs(10)));
    drop(store);
    let other = rusqlite::Connection::open(dir.path().join("danube.db")).unwrap();
    other
        .execute("UPDATE blueprint SET commit_id = 'c2'", [])
        .unwrap();
    drop(other);
    let store = crate::support::open(dir.path());
    assert_eq!(store.blueprint("a").unwrap().unwrap().taken, None);
}
