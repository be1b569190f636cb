//! API keys.

use danube_model::Timestamp;
use danube_store::{KeyBounds, KeyId, NewKey, Role, StoreError};

use crate::support::{reopened, store};

fn key(name: &str, byte: u8) -> NewKey {
    NewKey {
        name: name.into(),
        role: Role::Member,
        prefix: "dnb_abcd".into(),
        sha256: [byte; 32],
        bounds: KeyBounds::default(),
    }
}

#[test]
fn a_key_is_found_by_its_hash_until_it_is_revoked() {
    let (store, dir) = store();
    let made = store.create_key(key("ci", 1)).wait().unwrap();
    let store = reopened(store, dir.path());
    assert_eq!(store.find_key(&[1; 32]).unwrap(), Some(made.clone()));
    assert_eq!(store.find_key(&[2; 32]).unwrap(), None);

    let revoked = store.revoke_key(made.id).wait().unwrap().unwrap();
    assert!(revoked.revoked_at.is_some());
    assert_eq!(store.find_key(&[1; 32]).unwrap(), None);
    assert_eq!(store.revoke_key(made.id).wait().unwrap(), None, "once");
    assert_eq!(store.revoke_key(KeyId(99)).wait().unwrap(), None);
    assert_eq!(store.keys().unwrap(), [revoked]);
}

#[test]
fn a_name_is_free_again_once_its_key_is_revoked() {
    let (store, _dir) = store();
    let first = store.create_key(key("ci", 1)).wait().unwrap();
    assert_eq!(
        store.create_key(key("ci", 2)).wait(),
        Err(StoreError::NameTaken("ci".into()))
    );
    store.revoke_key(first.id).wait().unwrap();
    let second = store.create_key(key("ci", 2)).wait().unwrap();
    assert!(second.id > first.id);
    assert_eq!(store.keys().unwrap().len(), 2);
}

#[test]
fn a_use_is_remembered() {
    let (store, _dir) = store();
    let made = store.create_key(key("ci", 1)).wait().unwrap();
    assert_eq!(made.last_used_at, None);
    store.key_used(made.id).wait().unwrap();
    assert!(store.keys().unwrap()[0].last_used_at >= Some(made.created_at));
}

#[test]
fn what_bounds_a_key_is_kept_and_one_name_stands_for_one_owner() {
    let (store, dir) = store();
    let of = |name: &str, byte: u8, account: Option<&str>, until: Option<i64>| NewKey {
        bounds: KeyBounds {
            expires_at: until.map(Timestamp::from_millis),
            account: account.map(Into::into),
            pipelines: Some(vec!["web-*".into()]),
            user: None,
        },
        ..key(name, byte)
    };
    let first = of("robot 1", 1, Some("robot"), Some(1));
    let made = store.create_key(first.clone()).wait().unwrap();
    assert_eq!(made.bounds, first.bounds);
    let store = reopened(store, dir.path());
    assert_eq!(store.find_key(&[1; 32]).unwrap(), Some(made));
    // It has expired, and leaves its name.
    let second = store.create_key(of("robot 1", 2, Some("robot"), None));
    let second = second.wait().unwrap();
    let revoked = store.keys().unwrap()[0].revoked_at;
    assert_eq!(revoked, Some(Timestamp::from_millis(1)));

    let taken = |new: NewKey| store.create_key(new).wait();
    let name_taken = |name: &str| Err(StoreError::NameTaken(name.to_owned()));
    assert_eq!(
        taken(of("robot 1", 3, Some("robot"), None)),
        name_taken("robot 1")
    );
    assert_eq!(taken(of("robot", 3, None, None)), name_taken("robot"));
    store.create_key(of("ci", 4, None, None)).wait().unwrap();
    assert_eq!(taken(of("x", 5, Some("ci"), None)), name_taken("ci"));
    // A key of the account may be called as it is.
    store
        .create_key(of("robot", 6, Some("robot"), None))
        .wait()
        .unwrap();
    assert!(store.revoke_key(second.id).wait().unwrap().is_some());
}
