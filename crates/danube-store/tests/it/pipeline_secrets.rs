//! Secrets of pipelines: which job is given which, and what is noticed.

use std::fs;
use std::time::Duration;

use danube_model::credential::SecretText;
use danube_model::limits::SECRETS_MAX;
use danube_model::secret::NewSecret;
use danube_model::{Attempt, Step, Task};
use danube_store::{SecretRefusal, Store, StoreError};
use rusqlite::Connection;

use crate::support::{claim, is_fenced, new_job, reopened, store};

const CANARY: &str = "canary-1f0c55d7be";

fn secret(name: &str, pipeline: Option<&str>, value: &str) -> NewSecret {
    NewSecret {
        name: name.into(),
        pipeline: pipeline.map(str::to_owned),
        value: SecretText::new(value.into()),
    }
}

/// Sets one; whether it is new.
#[track_caller]
pub(crate) fn put(store: &Store, name: &str, pipeline: Option<&str>, value: &str) -> bool {
    let put = store.put_secret(secret(name, pipeline, value), "a");
    put.wait().unwrap().1
}

/// A running job of this pipeline that may have these.
pub(crate) fn running(store: &Store, pipeline: &str, named: &[&str]) -> Attempt {
    let mut job = new_job(pipeline);
    let Task::Pipeline(it) = &mut job.order.task else {
        panic!("it is a pipeline");
    };
    it.secrets = named.iter().map(ToString::to_string).collect();
    let id = store.submit(job).wait().unwrap().job.id;
    let claimed = claim(store, id);
    let steps = vec![Step::pending("say")];
    store.started(claimed.attempt, steps).wait().unwrap();
    claimed.attempt
}

/// What the attempt gets by this name.
#[track_caller]
pub(crate) fn given(store: &Store, attempt: Attempt, name: &str) -> Result<String, SecretRefusal> {
    let given = store.resolve_secrets(attempt, vec![name.into()]);
    let mut given = given.wait().unwrap().secrets;
    assert_eq!((given.len(), given[0].0.as_str()), (1, name));
    given.remove(0).1.map(|it| it.reveal().to_owned())
}

#[test]
fn a_job_is_given_what_it_names_and_the_one_of_its_own_pipeline_first() {
    let (store, dir) = store();
    assert!(put(&store, "token", None, "of-all-pipelines"));
    assert!(put(&store, "token", Some("release"), "first-value"));
    assert!(!put(&store, "token", Some("release"), CANARY));
    assert!(put(&store, "other", None, "not-for-them"));
    let store = reopened(store, dir.path());
    let named = &["token", "gone"];
    let (release, build) = (
        running(&store, "release", named),
        running(&store, "build", named),
    );
    assert_eq!(given(&store, release, "token").unwrap(), CANARY);
    assert_eq!(given(&store, build, "token").unwrap(), "of-all-pipelines");
    assert_eq!(given(&store, build, "other"), Err(SecretRefusal::NotNamed));
    assert_eq!(given(&store, build, "gone"), Err(SecretRefusal::Missing));

    let all = store.secrets().unwrap();
    let seen: Vec<_> = all
        .iter()
        .map(|it| {
            (
                &*it.name,
                it.pipeline.as_deref(),
                it.version,
                it.last_used_at.is_some(),
            )
        })
        .collect();
    let expected = [
        ("other", None, 1, false),
        ("token", None, 1, true),
        ("token", Some("release"), 2, true),
    ];
    assert_eq!(seen, expected);
    let gone = store
        .delete_secret(Some("release"), "token")
        .wait()
        .unwrap();
    assert!(gone.is_some());
    assert_eq!(given(&store, release, "token").unwrap(), "of-all-pipelines");
    let gone = store
        .delete_secret(Some("release"), "token")
        .wait()
        .unwrap();
    assert_eq!(gone, None);
}

#[test]
fn an_attempt_that_lost_its_job_is_given_nothing() {
    let (store, _dir) = store();
    put(&store, "token", None, CANARY);
    let attempt = running(&store, "build", &["token"]);
    store.lease_lost(attempt, "silent").wait().unwrap();
    claim(&store, attempt.job);
    let asked = store.resolve_secrets(attempt, vec!["token".into()]);
    assert!(is_fenced(&asked.wait()));
}

/// Whatever somebody with the database's file does to a row: nobody is given something else
/// than what was set for this name and pipeline.
#[test]
fn a_row_that_was_changed_or_swapped_or_set_back_is_noticed() {
    let (store, dir) = store();
    put(&store, "one", None, "the-value-of-one");
    put(&store, "two", None, "the-value-of-two");
    let attempt = running(&store, "build", &["one", "two", "other"]);
    let other = Connection::open(dir.path().join("danube.db")).unwrap();
    let sealed = |name: &str| -> Vec<u8> {
        let sql = "SELECT sealed FROM secrets WHERE name = ?1";
        other.query_row(sql, [name], |row| row.get(0)).unwrap()
    };
    let set = |sealed: &[u8], name: &str| {
        let sql = "UPDATE secrets SET sealed = ?1 WHERE name = ?2";
        assert_eq!(other.execute(sql, (sealed, name)).unwrap(), 1);
    };
    let (one, two) = (sealed("one"), sealed("two"));
    set(&two, "one");
    assert_eq!(
        given(&store, attempt, "one"),
        Err(SecretRefusal::Unreadable)
    );
    set(&one, "one");
    assert_eq!(given(&store, attempt, "one").unwrap(), "the-value-of-one");
    for (change, name) in [
        ("name = 'other' WHERE name = 'one'", "other"),
        ("version = 2 WHERE name = 'one'", "one"),
        ("pipeline = 'build' WHERE name = 'one'", "one"),
    ] {
        let before = "CREATE TEMP TABLE kept AS SELECT * FROM secrets";
        other.execute_batch(before).unwrap();
        other
            .execute_batch(&format!("UPDATE secrets SET {change}"))
            .unwrap();
        assert_eq!(
            given(&store, attempt, name),
            Err(SecretRefusal::Unreadable),
            "{change}"
        );
        let back = "DELETE FROM secrets; INSERT INTO secrets SELECT * FROM kept; DROP TABLE kept";
        other.execute_batch(back).unwrap();
    }
    put(&store, "one", None, "another-value");
    set(&one, "one");
    assert_eq!(
        given(&store, attempt, "one"),
        Err(SecretRefusal::Unreadable)
    );
    put(&store, "one", None, CANARY);
    assert_eq!(given(&store, attempt, "one").unwrap(), CANARY);
}

#[test]
fn a_value_is_in_no_file() {
    let (store, dir) = store();
    put(&store, "plainly-visible", None, CANARY);
    let attempt = running(&store, "build", &["plainly-visible"]);
    assert_eq!(given(&store, attempt, "plainly-visible").unwrap(), CANARY);
    assert_eq!(
        store.secret_values().unwrap(),
        [SecretText::new(CANARY.into())]
    );
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
    assert!(store.close(Duration::from_secs(10)));
    look();
}

#[test]
fn there_are_only_so_many_secrets() {
    let (store, _dir) = store();
    let all: Vec<_> = (0..SECRETS_MAX)
        .map(|it| store.put_secret(secret(&format!("s{it}"), None, CANARY), "a"))
        .collect();
    all.into_iter().for_each(|it| drop(it.wait().unwrap()));
    let more = store.put_secret(secret("more", None, CANARY), "a");
    assert_eq!(more.wait(), Err(StoreError::TooManySecrets));
    assert!(
        !put(&store, "s0", None, "another-value"),
        "one that is there can be set"
    );
    assert_eq!(store.secrets().unwrap().len(), SECRETS_MAX);
}
