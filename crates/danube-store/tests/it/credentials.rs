//! Credentials: what comes back, to whom, and what never does.

use std::fs;

use danube_model::JobId;
use danube_model::credential::{Credential, CredentialKind, SecretText};
use danube_model::limits::CREDENTIALS_MAX;
use danube_store::StoreError;
use rusqlite::Connection;

use crate::support::{claim, reopened, running, store, submit};

pub(crate) const CANARY: &str = "canary-5b1e77a09c";

pub(crate) fn credential(name: &str, value: &str) -> Credential {
    let one = |field: &str, it: &str| (field.to_owned(), it.to_owned());
    let (field, value) = one("password", value);
    Credential {
        name: name.into(),
        kind: CredentialKind::Password,
        metadata: [one("username", "deploy")].into(),
        values: [(field, SecretText::new(value))].into(),
    }
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn a_credential_comes_back_to_the_job_that_asks_and_the_use_is_known() {
    let (store, dir) = store();
    let made = store.create_credential(credential("web", CANARY), "admin");
    let made = made.wait().unwrap();
    assert_eq!((made.version, made.created_by.as_str()), (1, "admin"));
    let store = reopened(store, dir.path());
    assert_eq!(store.credential("web").unwrap(), Some(made));
    assert_eq!(store.credential_uses("web").unwrap(), Some(vec![]));

    let attempt = running(&store);
    let given = store.resolve_credentials(attempt, names(&["web"]));
    assert_eq!(given.wait().unwrap(), [credential("web", CANARY)]);
    let store = reopened(store, dir.path());
    let uses = store.credential_uses("web").unwrap().unwrap();
    assert_eq!((uses.len(), uses[0].job), (1, attempt.job));
    let known = store.credential("web").unwrap().unwrap();
    assert_eq!(known.last_used_at, Some(uses[0].at));
}

#[test]
fn a_replaced_credential_has_its_new_values_and_its_old_name() {
    let (store, _dir) = store();
    let first = store.create_credential(credential("web", "old-old-old"), "a");
    let first = first.wait().unwrap();
    let again = store.create_credential(credential("web", "x"), "b").wait();
    assert_eq!(again, Err(StoreError::CredentialExists("web".into())));
    let second = store.put_credential(credential("web", CANARY), "b");
    let (second, is_new) = second.wait().unwrap();
    assert!(!is_new);
    assert_eq!((second.id, second.version), (first.id, 2));
    assert_eq!((&*second.created_by, &*second.updated_by), ("a", "b"));
    let other = store.put_credential(credential("other", CANARY), "b");
    assert!(other.wait().unwrap().1, "it is new");
    let given = store.resolve_credentials(running(&store), names(&["web"]));
    assert_eq!(given.wait().unwrap(), [credential("web", CANARY)]);
}

#[test]
fn a_job_gets_all_that_it_asks_for_or_hears_of_every_name_that_there_isnt() {
    let (store, _dir) = store();
    let make = |name: &str| {
        let made = store.create_credential(credential(name, CANARY), "a");
        made.wait().unwrap();
    };
    make("web");
    let attempt = running(&store);
    let asked = store.resolve_credentials(attempt, names(&["gone", "web", "lost"]));
    let error = asked.wait().unwrap_err();
    assert_eq!(error, StoreError::NoCredentials(names(&["gone", "lost"])));
    assert_eq!(error.to_string(), "there is no credential `gone`, `lost`");
    assert_eq!(store.credential_uses("web").unwrap(), Some(vec![]));
    assert_eq!(store.credential("web").unwrap().unwrap().last_used_at, None);
}

#[test]
fn a_deleted_credential_is_gone_and_who_used_it_stays_known() {
    let (store, _dir) = store();
    let made = store.create_credential(credential("web", CANARY), "a");
    let first = made.wait().unwrap();
    let attempt = running(&store);
    let ask = || store.resolve_credentials(attempt, names(&["web"])).wait();
    ask().unwrap();
    assert!(store.delete_credential("web").wait().unwrap().is_some());
    assert_eq!(store.delete_credential("web").wait().unwrap(), None);
    assert_eq!(store.credentials().unwrap(), []);
    assert_eq!(ask(), Err(StoreError::NoCredentials(names(&["web"]))));
    assert_eq!(store.credential_uses("web").unwrap().unwrap().len(), 1);
    assert_eq!(store.credential_uses("other").unwrap(), None);
    let again = store.create_credential(credential("web", CANARY), "a");
    assert!(again.wait().unwrap().id > first.id, "never given twice");
}

#[test]
fn an_attempt_that_lost_its_job_is_given_nothing() {
    let (store, _dir) = store();
    let made = store.create_credential(credential("web", CANARY), "a");
    made.wait().unwrap();
    let attempt = running(&store);
    store.lease_lost(attempt, "silent").wait().unwrap();
    claim(&store, attempt.job);
    let asked = store.resolve_credentials(attempt, names(&["web"]));
    assert!(matches!(asked.wait(), Err(StoreError::Fenced { .. })));
    let pending = danube_model::Attempt {
        job: submit(&store).id,
        ..attempt
    };
    let asked = store.resolve_credentials(pending, names(&["web"]));
    assert!(matches!(asked.wait(), Err(StoreError::Fenced { .. })));
    let unknown = danube_model::Attempt {
        job: JobId::new(),
        ..attempt
    };
    let asked = store.resolve_credentials(unknown, names(&["web"]));
    assert!(matches!(asked.wait(), Err(StoreError::NoJob(_))));
    assert_eq!(store.credential_uses("web").unwrap(), Some(vec![]));
}

/// Whatever somebody with the database's file does to a row: nobody is given
/// something else than what was set under this name.
#[test]
fn a_row_that_was_changed_or_swapped_or_set_back_is_noticed() {
    let (store, dir) = store();
    for name in ["one", "two"] {
        let made = store.create_credential(credential(name, &format!("{CANARY}-{name}")), "a");
        made.wait().unwrap();
    }
    let attempt = running(&store);
    let ask = |name: &str| store.resolve_credentials(attempt, names(&[name])).wait();
    let other = Connection::open(dir.path().join("danube.db")).unwrap();
    let sealed = |name: &str| -> Vec<u8> {
        let sql = "SELECT sealed FROM credentials WHERE name = ?1";
        other.query_row(sql, [name], |row| row.get(0)).unwrap()
    };
    let put = |sealed: &[u8], name: &str| {
        let sql = "UPDATE credentials SET sealed = ?1 WHERE name = ?2";
        assert_eq!(other.execute(sql, (sealed, name)).unwrap(), 1);
    };
    let unreadable = |name: &str| Err(StoreError::CredentialUnreadable(name.into()));

    let (one, two) = (sealed("one"), sealed("two"));
    put(&two, "one");
    put(&one, "two");
    assert_eq!(ask("one"), unreadable("one"));
    assert_eq!(ask("two"), unreadable("two"));
    put(&one, "one");
    put(&two, "two");
    assert!(ask("one").is_ok() && ask("two").is_ok());

    for change in [
        "name = 'other' WHERE name = 'one'",
        "kind = 'become' WHERE name = 'one'",
        "version = 2 WHERE name = 'one'",
        "metadata = '{\"username\":\"root\"}' WHERE name = 'one'",
    ] {
        let before = "CREATE TEMP TABLE kept AS SELECT * FROM credentials";
        other.execute_batch(before).unwrap();
        let sql = format!("UPDATE credentials SET {change}");
        other.execute_batch(&sql).unwrap();
        let name = if change.contains("other") {
            "other"
        } else {
            "one"
        };
        assert_eq!(ask(name), unreadable(name), "{change}");
        let back =
            "DELETE FROM credentials; INSERT INTO credentials SELECT * FROM kept; DROP TABLE kept";
        other.execute_batch(back).unwrap();
    }

    // The values from before a replacement.
    let new = store.put_credential(credential("one", "another-value"), "a");
    new.wait().unwrap();
    put(&one, "one");
    assert_eq!(ask("one"), unreadable("one"));
    // One that can't be read takes the others along: all or nothing.
    let both = store.resolve_credentials(attempt, names(&["two", "one"]));
    assert_eq!(both.wait(), unreadable("one"));
    // It can be set anew.
    let new = store.put_credential(credential("one", CANARY), "a");
    new.wait().unwrap();
    assert_eq!(ask("one").unwrap(), [credential("one", CANARY)]);
}

#[test]
fn a_value_is_in_no_file() {
    let (store, dir) = store();
    let made = store.create_credential(credential("plainly-visible", CANARY), "a");
    made.wait().unwrap();
    let given = store.resolve_credentials(running(&store), names(&["plainly-visible"]));
    given.wait().unwrap();
    let values = store.credential_values().unwrap();
    assert_eq!(values, [SecretText::new(CANARY.into())]);
    let look = || {
        let mut visible = 0;
        for entry in fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let holds = |text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
            assert!(!holds(CANARY), "{}", path.display());
            visible += usize::from(holds("plainly-visible"));
        }
        assert!(visible > 0, "the search finds what is there");
    };
    look();
    assert!(store.close(std::time::Duration::from_secs(10)));
    look();
}

#[test]
fn there_are_only_so_many_credentials() {
    let (store, _dir) = store();
    let all: Vec<_> = (0..CREDENTIALS_MAX)
        .map(|it| store.create_credential(credential(&format!("c{it}"), CANARY), "a"))
        .collect();
    all.into_iter().for_each(|it| drop(it.wait().unwrap()));
    let more = store.create_credential(credential("more", CANARY), "a");
    assert_eq!(more.wait(), Err(StoreError::TooManyCredentials));
    assert_eq!(store.credentials().unwrap().len(), CREDENTIALS_MAX);
}

#[test]
fn only_the_latest_uses_are_kept() {
    let (store, dir) = store();
    let made = store.create_credential(credential("web", CANARY), "a");
    made.wait().unwrap();
    let attempt = running(&store);
    let asked: Vec<_> = (0..1_020)
        .map(|_| store.resolve_credentials(attempt, names(&["web"])))
        .collect();
    asked.into_iter().for_each(|it| drop(it.wait().unwrap()));
    let store = reopened(store, dir.path());
    assert_eq!(store.credential_uses("web").unwrap().unwrap().len(), 1_000);
    let other = Connection::open(dir.path().join("danube.db")).unwrap();
    let sql = "SELECT count(*) FROM credential_uses";
    let rows: i64 = other.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1_000);
}
