//! What changes about a job beside its state.

use std::fs;

use danube_model::limits::MASKS_MAX;
use danube_model::{Cause, JobId};
use danube_store::{LogDeletion, MaskOutcome};
use rusqlite::Connection;

use crate::support::{claim, ended, open, reopened, running, store, submit};

#[test]
fn a_late_value_is_kept_for_the_next_attempt_and_only_sealed() {
    let (store, dir) = store();
    let job = submit(&store).id;
    let first = claim(&store, job);
    let value = "late-value-0815".to_owned();
    for _ in 0..2 {
        let kept = store.add_mask(job, value.clone()).wait();
        assert_eq!(kept, Ok(MaskOutcome::Kept));
    }
    store.lease_lost(first.attempt, "gone").wait().unwrap();
    let store = reopened(store, dir.path());
    let mut masks = first.order.masks;
    masks.push(value.clone());
    assert_eq!(claim(&store, job).order.masks, masks, "once, and last");
    for entry in fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        let bytes = fs::read(entry.path()).unwrap();
        let seen = bytes.windows(value.len()).any(|it| it == value.as_bytes());
        assert!(!seen, "{}", entry.path().display());
    }
}

#[test]
fn a_job_takes_no_more_late_values_than_a_submit_may_bring() {
    let (store, _dir) = store();
    let job = submit(&store).id;
    let answers: Vec<_> = (0..=MASKS_MAX)
        .map(|number| store.add_mask(job, format!("late-value-{number}")))
        .collect();
    let answers = answers.into_iter().map(|it| it.wait().unwrap());
    assert_eq!(answers.last(), Some(MaskOutcome::Full));
    let nobody = store.add_mask(JobId::new(), "late-value".to_owned());
    assert_eq!(nobody.wait(), Ok(MaskOutcome::NotFound));
}

#[test]
fn only_the_log_of_an_ended_job_can_be_gone() {
    let (store, dir) = store();
    let attempt = running(&store);
    let job = attempt.job;
    let early = store.log_deleted(job).wait().unwrap();
    assert!(matches!(early, LogDeletion::NotEnded(it) if it.log_deleted_at.is_none()));
    store
        .finish(attempt, ended(Cause::Succeeded))
        .wait()
        .unwrap();
    let LogDeletion::Deleted(first) = store.log_deleted(job).wait().unwrap() else {
        panic!("it has ended");
    };
    assert!(first.log_deleted_at.is_some());
    let store = reopened(store, dir.path());
    assert_eq!(
        store.log_deleted(job).wait(),
        Ok(LogDeletion::Deleted(first.clone()))
    );
    assert_eq!(store.job(job).unwrap(), Some(first));
    let nobody = store.log_deleted(JobId::new());
    assert_eq!(nobody.wait(), Ok(LogDeletion::NotFound));
}

#[test]
fn a_database_of_the_first_schema_is_brought_forward() {
    let (store, dir) = store();
    let job = submit(&store);
    assert!(store.close(std::time::Duration::from_secs(10)));
    let connection = Connection::open(dir.path().join("danube.db")).unwrap();
    connection
        .execute_batch(
            "DROP TABLE credentials; DROP TABLE credential_uses; \
             DROP TABLE webhooks; DROP TABLE webhook_attempts; DROP TABLE webhook_secrets; \
             DROP TABLE playbook_runs; DROP TABLE playbook_events; \
             ALTER TABLE jobs DROP COLUMN source_type; ALTER TABLE jobs DROP COLUMN source; \
             ALTER TABLE jobs DROP COLUMN log_deleted_at; PRAGMA user_version = 1",
        )
        .unwrap();
    connection.close().unwrap();
    assert_eq!(open(dir.path()).job(job.id).unwrap(), Some(job));
}
