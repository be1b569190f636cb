//! Jobs of forges: what is owed to whom, what a fork's commit may have, what came before.

use danube_model::{Cause, ForgeKind, FromForge, JobId, Step, Timestamp, Trace};
use danube_store::{
    AfterTry, Delivery, DueStatus, ForgeStart, INBOX_BYTES_MAX, INBOX_STARTS_MAX, Kept, NewStart,
    Retry, RetryOutcome, SecretRefusal, Sight, StatusTried, Store, StoreError, UntoldState,
    WaitingStart,
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

/// A start of this pipeline and ref at this commit.
fn start(pipeline: &str, git_ref: &str, commit: u32) -> ForgeStart {
    ForgeStart {
        pipeline: pipeline.to_owned(),
        git_ref: git_ref.to_owned(),
        from: FromForge {
            kind: ForgeKind::Gitea,
            name: "work".to_owned(),
            repository: "team/app".to_owned(),
            commit: format!("{commit:040x}"),
            request: None,
            is_fork: true,
            approved_by: None,
        },
        user: "octocat".to_owned(),
    }
}

fn delivery(body: u8) -> Delivery {
    Delivery {
        name: "work".to_owned(),
        id: None,
        body: [body; 32],
    }
}

#[test]
fn what_waits_keeps_its_order_gives_way_to_newer_and_is_noted_with_its_webhook() {
    let (store, dir) = store();
    let keep = |body: u8, start: ForgeStart, replaces: bool| {
        let new = vec![NewStart { start, replaces }];
        store.keep_starts(delivery(body), &[], new).wait().unwrap()
    };
    let none = Kept::Waiting(Vec::new());
    assert_eq!(keep(1, start("a", "main", 1), false), none);
    assert_eq!(keep(2, start("b", "main", 1), false), none);
    assert_eq!(keep(3, start("a", "main", 2), false), none);
    assert_eq!(keep(4, start("c", "main", 1), true), none);
    let first = store.first_starts().unwrap();
    let names = first.iter().map(|it| it.start.pipeline.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["a", "b", "c"]);
    // The one that comes keeps the place that it has, and the other goes for it.
    let gone = WaitingStart {
        entry: 3,
        start: start("a", "main", 2),
    };
    let kept = keep(5, start("a", "main", 1), true);
    assert_eq!(kept, Kept::Waiting(vec![gone]));
    assert!(store.has_start_waiting("a").unwrap() && !store.has_start_waiting("d").unwrap());
    let store = crate::support::reopened(store, dir.path());
    let first = store.first_starts().unwrap().remove(0);
    assert_eq!(first.start, start("a", "main", 1));
    let job = JobId::new();
    store.start_settled(first.entry, Some(job)).wait().unwrap();
    let seen = store.seen_delivery(&delivery(1)).unwrap().unwrap();
    assert_eq!((seen.is_same, seen.jobs), (true, vec![job]));
    assert!(!store.has_start_waiting("a").unwrap());
    let inbox = store.forge_inboxes().unwrap();
    assert_eq!((inbox.len(), inbox[0].starts), (1, 2));
}

#[test]
fn an_inbox_is_bounded_by_number_and_by_bytes_and_refuses_all_or_nothing() {
    let (store, _dir) = store();
    let keep = |body: u8, starts: Vec<ForgeStart>| {
        let new = starts.into_iter().map(|start| NewStart {
            start,
            replaces: false,
        });
        let kept = store.keep_starts(delivery(body), &[], new.collect());
        kept.wait().unwrap()
    };
    let number = u32::try_from(INBOX_STARTS_MAX).unwrap();
    let many = (1..number).map(|it| start("a", "main", it)).collect();
    assert!(matches!(keep(1, many), Kept::Waiting(_)));
    let two = vec![start("b", "main", 1), start("b", "main", 2)];
    assert_eq!(keep(2, two), Kept::Full);
    assert_eq!(
        store.forge_inboxes().unwrap()[0].starts,
        INBOX_STARTS_MAX - 1
    );
    assert_eq!(store.seen_delivery(&delivery(2)).unwrap(), None);
    assert!(!store.has_start_waiting("b").unwrap());
    let (store, _dir) = crate::support::store();
    let long = "x".repeat(usize::try_from(INBOX_BYTES_MAX / 2).unwrap());
    for (body, expected) in [(1, true), (2, false)] {
        let new = NewStart {
            start: start("a", &long, body.into()),
            replaces: false,
        };
        let kept = store.keep_starts(delivery(body), &[], vec![new]);
        let kept = matches!(kept.wait().unwrap(), Kept::Waiting(_));
        assert_eq!(kept, expected);
    }
}

#[test]
fn what_was_given_up_is_listed_until_it_is_told_again() {
    let (store, _dir) = store();
    let job = submitted(&store, "work", false);
    let list = |state| {
        let page = store
            .untold_statuses((&Sight::All, state), None, 10)
            .unwrap();
        page.items
    };
    let (pending, failed) = (Some(UntoldState::Pending), Some(UntoldState::Failed));
    assert_eq!(
        (list(None).len(), list(pending).len(), list(failed).len()),
        (1, 1, 0)
    );
    let first = due(&store).remove(0);
    let tried = StatusTried {
        job,
        changes: first.changes,
        next: AfterTry::Failed,
        error: Some("status 410".to_owned()),
    };
    store.status_tried(tried).wait().unwrap();
    let found = list(failed).remove(0);
    assert_eq!(
        (found.job.id, found.error.as_deref()),
        (job, Some("status 410"))
    );
    let outbox = |since| store.status_outbox(since).unwrap();
    assert_eq!(outbox(Timestamp::from_millis(0)).given_up, 1);
    assert_eq!(outbox(later()).given_up, 0, "of jobs since then");
    let patterns = |it: &str| Sight::Patterns(vec![it.to_owned()]);
    let seen = |sight: &Sight| store.untold_statuses((sight, None), None, 10).unwrap();
    assert_eq!(seen(&patterns("bu*")).items.len(), 1);
    assert_eq!(seen(&patterns("web")).items.len(), 0);
    let again = store.tell_again(job).wait().unwrap().unwrap();
    assert_eq!((again.state(), again.attempts), (UntoldState::Pending, 0));
    // What began before that settles nothing.
    tell(&store, &first, AfterTry::Failed);
    let second = due(&store).remove(0);
    tell(&store, &second, AfterTry::Delivered);
    assert_eq!(list(None), []);
    assert_eq!(store.tell_again(JobId::new()).wait().unwrap(), None);
}
