//! API keys.

use danube_store::{KeyId, NewKey, Role, StoreError};

use crate::support::{reopened, store};

fn key(name: &str, byte: u8) -> NewKey {
    NewKey {
        name: name.into(),
        role: Role::Member,
        prefix: "dnb_abcd".into(),
        sha256: [byte; 32],
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
