//! Jobs of forges: what is owed to whom, what a fork's commit may have, what came before.

use danube_model::{Cause, ForgeKind, FromForge, JobId, Step, Timestamp, Trace};
use danube_store::{
    AfterTry, Delivery, DueStatus, Retry, RetryOutcome, SecretRefusal, StatusTried, Store,
    StoreError,
};
use rusqlite::Connection;

use crate::pipeline_secrets::{given, put};
use crate::support::{claim, ended, new_job, store};

const COMMIT: &str = "6dcb09b5b57875f334f61aebed695e2e4193db5e";

/// A job of the pipeline `build` that a forge of this name asked for.
fn submitted(store: &Store, name: &str, is_fork: bool) -> JobId {
    let mut job = new_job("build");
    if let danube_model::Task::Pipeline(it) = &mut job.order.task {
        it.secrets = ["deploy".to_owned()].into();
    }
    job.order.forge = Some(FromForge {
        kind: ForgeKind::Gitea,
        name: name.to_owned(),
        repository: "team/app".to_owned(),
        commit: COMMIT.to_owned(),
        request: Some(7),
        is_fork,
        approved_by: None,
    });
    store.submit(job).wait().unwrap().job.id
}

fn retry_of(job: JobId) -> Retry {
    Retry {
        job,
        new: JobId::new(),
        by: "anna".to_owned(),
        owner: "1".into(),
        trace_id: String::new(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        trace: Trace::default(),
    }
}

fn later() -> Timestamp {
    Timestamp::from_millis(Timestamp::now().as_millis() + 60_000)
}

fn due(store: &Store) -> Vec<DueStatus> {
    store.due_statuses(later(), 8).unwrap()
}

fn tell(store: &Store, status: &DueStatus, next: AfterTry) {
    let tried = StatusTried {
        job: status.job.id,
        changes: status.changes,
        next,
        error: None,
    };
    store.status_tried(tried).wait().unwrap();
}

#[test]
fn a_forge_is_owed_what_is_new_and_an_attempt_that_began_before_settles_nothing() {
    let (store, _dir) = store();
    let job = submitted(&store, "work", false);
    let first = due(&store).remove(0);
    assert_eq!((first.job.id, first.is_outdated), (job, false));
    // It ends while it is being told that it came.
    let claimed = claim(&store, job);
    store
        .started(claimed.attempt, vec![Step::pending("say")])
        .wait()
        .unwrap();
    let end = ended(Cause::Succeeded);
    store.finish(claimed.attempt, end).wait().unwrap();
    tell(&store, &first, AfterTry::Delivered);
    let second = due(&store).remove(0);
    assert!(second.job.state.is_terminal());
    tell(&store, &second, AfterTry::Again(later()));
    assert_eq!(due(&store).len(), 1, "by then");
    assert!(store.due_statuses(Timestamp::now(), 8).unwrap().is_empty());
    // A job of the same commit stands for it from now on.
    let made = store.retry(retry_of(job)).wait().unwrap();
    assert!(matches!(made, RetryOutcome::Made(_)));
    let all = due(&store);
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|it| it.is_outdated == (it.job.id == job)));
    for it in &all {
        tell(&store, it, AfterTry::Delivered);
    }
    assert_eq!(due(&store), []);
    submitted(&store, "other", false);
    assert!(!due(&store)[0].is_outdated, "another forge");
}

#[test]
fn a_forks_job_is_given_nothing_before_it_is_approved_and_a_retry_is_no_approval() {
    let (store, _dir) = store();
    put(&store, "deploy", None, "a-long-enough-value");
    let run = |job| {
        let attempt = claim(&store, job).attempt;
        store
            .started(attempt, vec![Step::pending("say")])
            .wait()
            .unwrap();
        let secret = given(&store, attempt, "deploy");
        let names = vec!["any".to_owned()];
        let credentials = store.resolve_credentials(attempt, names).wait();
        assert!(matches!(credentials, Err(StoreError::NoCredentials(_))));
        let end = ended(Cause::Succeeded);
        store.finish(attempt, end).wait().unwrap();
        secret
    };
    let job = submitted(&store, "work", true);
    assert_eq!(run(job), Err(SecretRefusal::Untrusted));
    let again = |approve: bool| {
        let retry = retry_of(job);
        let new = retry.new;
        let outcome = if approve {
            store.approve(retry)
        } else {
            store.retry(retry)
        };
        assert!(matches!(outcome.wait().unwrap(), RetryOutcome::Made(_)));
        new
    };
    assert_eq!(run(again(false)), Err(SecretRefusal::Untrusted));
    let approved = again(true);
    assert_eq!(run(approved).as_deref(), Ok("a-long-enough-value"));
    let known = store.forge_job(approved).unwrap().unwrap().from;
    assert_eq!(
        (known.approved_by.as_deref(), known.commit.as_str()),
        (Some("anna"), COMMIT)
    );
    assert_eq!(
        run(submitted(&store, "work", false)).as_deref(),
        Ok("a-long-enough-value")
    );
}

#[test]
fn a_webhook_is_known_again_by_its_body_and_by_its_id_for_thirty_days() {
    let (store, dir) = store();
    let delivery = |name: &str, id: Option<&str>, body: u8| Delivery {
        name: name.to_owned(),
        id: id.map(str::to_owned),
        body: [body; 32],
    };
    let job = JobId::new();
    let first = delivery("work", Some("1"), 1);
    store.note_delivery(first.clone(), &[job]).wait().unwrap();
    let seen = |it: &Delivery| {
        let seen = store.seen_delivery(it).unwrap();
        seen.map(|it| (it.is_same, it.jobs.len()))
    };
    assert_eq!(seen(&first), Some((true, 1)));
    assert_eq!(seen(&delivery("work", Some("2"), 1)), Some((true, 1)));
    assert_eq!(seen(&delivery("work", Some("1"), 2)), Some((false, 1)));
    for other in [
        delivery("work", Some("2"), 2),
        delivery("work", None, 2),
        delivery("other", Some("1"), 1),
    ] {
        assert_eq!(seen(&other), None);
    }
    let database = Connection::open(dir.path().join("danube.db")).unwrap();
    let back = "UPDATE forge_deliveries SET at = at - 31 * 24 * 3600 * 1000";
    database.execute(back, []).unwrap();
    assert_eq!(seen(&first), None);
    // And it goes with the next.
    let next = delivery("work", Some("3"), 3);
    store.note_delivery(next, &[job]).wait().unwrap();
    let count = "SELECT count(*) FROM forge_deliveries";
    let left: i64 = database.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(left, 1);
}
