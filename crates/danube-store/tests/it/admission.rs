//! Which jobs are taken, and which older ones they take the place of.

use danube_model::spec::{Queueing, Superseded};
use danube_model::{Cause, JobId, State, Task};
use danube_store::{CancelOutcome, Lane, NewJob, Options, Retry, RetryOutcome, Store, StoreError};

use crate::support::{assignment, claim, ended, new_job, open, store};

fn job_with(queueing: Queueing, subject: &str) -> NewJob {
    let mut job = new_job("build");
    let Task::Pipeline(pipeline) = &mut job.order.task else {
        panic!("a pipeline")
    };
    pipeline.queueing = queueing;
    job.subject = Some(subject.to_owned());
    job
}

fn superseding(subject: &str) -> NewJob {
    let queueing = Queueing {
        cancel_superseded: Superseded::All,
        ..Queueing::default()
    };
    job_with(queueing, subject)
}

fn state(store: &Store, job: JobId) -> State {
    store.job(job).unwrap().unwrap().state
}

fn retry(job: JobId) -> Retry {
    Retry {
        job,
        new: JobId::new(),
        by: "admin".into(),
        owner: "1".into(),
        trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        trace: danube_model::Trace::default(),
    }
}

#[test]
fn no_more_jobs_of_a_pipeline_wait_than_may_and_one_that_begins_makes_room() {
    let (store, dir) = store();
    let bounded = || {
        let queueing = Queueing {
            max_pending: Some(2),
            ..Queueing::default()
        };
        job_with(queueing, "ref main")
    };
    let first = store.submit(bounded()).wait().unwrap().job;
    store.submit(bounded()).wait().unwrap();
    let full = StoreError::QueueFull {
        pipeline: Some("build".to_owned()),
        max: 2,
    };
    assert_eq!(store.submit(bounded()).wait(), Err(full.clone()));
    store.submit(new_job("other")).wait().unwrap();
    let attempt = claim(&store, first.id).attempt;
    store.submit(bounded()).wait().unwrap();
    // One that lost its worker was taken before, and waits again whatever else does.
    store.lease_lost(attempt, "silent").wait().unwrap();
    assert_eq!(state(&store, first.id), State::Pending);
    assert_eq!(store.submit(bounded()).wait(), Err(full.clone()));
    // A restart counts anew.
    assert!(store.close(std::time::Duration::from_secs(10)));
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.submit(bounded()).wait(), Err(full.clone()));
    // Who runs one again asks for one more.
    let cancelled = store.cancel(first.id, "admin").wait().unwrap();
    assert!(matches!(cancelled, CancelOutcome::Cancelled(_)));
    assert_eq!(store.retry(retry(first.id)).wait(), Err(full));
}

#[test]
fn many_submits_at_once_pass_the_bound_no_further_than_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        pending_max: 7,
        ..Options::default()
    };
    let store = Store::open(dir.path(), options).unwrap();
    let sent: Vec<_> = (0..50).map(|_| store.submit(new_job("build"))).collect();
    let taken = sent.into_iter().map(danube_store::Pending::wait);
    let (taken, refused): (Vec<_>, Vec<_>) = taken.partition(Result::is_ok);
    assert_eq!((taken.len(), store.counts().pending), (7, 7));
    let full = Err(StoreError::QueueFull {
        pipeline: None,
        max: 7,
    });
    assert!(refused.iter().all(|it| *it == full), "{refused:?}");
}

#[test]
fn a_newer_job_about_the_same_takes_the_place_of_what_waits_and_runs() {
    let (store, _dir) = store();
    let submit = |job: NewJob| store.submit(job).wait().unwrap();
    let runs = submit(superseding("ref main")).job;
    let attempt = claim(&store, runs.id).attempt;
    let other = submit(superseding("ref next")).job;
    let mut with = superseding("ref main");
    with.order.parameters.insert("LEVEL".into(), "2".into());
    let other_parameters = submit(with).job;
    let plain = submit(new_job("build")).job;

    let waits = submit(superseding("ref main"));
    let [CancelOutcome::Asked(asked)] = &waits.superseded[..] else {
        panic!("{:?}", waits.superseded)
    };
    assert_eq!((asked.id, asked.cancel_asked), (runs.id, true));
    let newest = submit(superseding("ref main"));
    let [CancelOutcome::Cancelled(cancelled)] = &newest.superseded[..] else {
        panic!("{:?}", newest.superseded)
    };
    let reason = format!("superseded by job {}", newest.job.id);
    assert_eq!(cancelled.id, waits.job.id);
    assert_eq!(cancelled.reason.as_deref(), Some(&*reason));
    assert_eq!(cancelled.cancelled_by.as_deref(), Some("admin"));
    for (job, expected) in [
        (runs.id, State::Scheduling),
        (waits.job.id, State::Cancelled),
        (other.id, State::Pending),
        (other_parameters.id, State::Pending),
        (plain.id, State::Pending),
        (newest.job.id, State::Pending),
    ] {
        assert_eq!(state(&store, job), expected);
    }
    let mut stopped = ended(Cause::Stopped);
    stopped.reason = Some("while step `say` ran".into());
    let stopped = store.finish(attempt, stopped).wait().unwrap();
    let reason = format!("superseded by job {} while step `say` ran", waits.job.id);
    assert_eq!(stopped.reason, Some(reason));
    assert_eq!(stopped.state, State::Cancelled);
}

#[test]
fn where_a_pipeline_says_pending_what_runs_goes_on() {
    let (store, _dir) = store();
    let job = || {
        let queueing = Queueing {
            cancel_superseded: Superseded::Pending,
            max_pending: Some(1),
            ..Queueing::default()
        };
        job_with(queueing, "ref main")
    };
    let runs = store.submit(job()).wait().unwrap().job;
    claim(&store, runs.id);
    let waits = store.submit(job()).wait().unwrap();
    assert_eq!(waits.superseded, []);
    // The one that goes makes room for the one that comes.
    let newest = store.submit(job()).wait().unwrap();
    assert_eq!(newest.superseded.len(), 1);
    assert_eq!(state(&store, waits.job.id), State::Cancelled);
    assert!(!store.job(runs.id).unwrap().unwrap().cancel_asked);
}

#[test]
fn a_retry_is_cancelled_by_newer_jobs_and_cancels_none() {
    let (store, _dir) = store();
    let old = store.submit(superseding("ref main")).wait().unwrap().job;
    store.cancel(old.id, "me").wait().unwrap();
    let newer = store.submit(superseding("ref main")).wait().unwrap().job;
    let RetryOutcome::Made(again) = store.retry(retry(old.id)).wait().unwrap() else {
        panic!("it had ended")
    };
    assert_eq!(state(&store, newer.id), State::Pending);
    let newest = store.submit(superseding("ref main")).wait().unwrap();
    assert_eq!(newest.superseded.len(), 2);
    assert_eq!(state(&store, again.id), State::Cancelled);
}

#[test]
fn one_that_is_about_nothing_stands_beside_all_others() {
    let (store, _dir) = store();
    let job = || NewJob {
        subject: None,
        ..superseding("")
    };
    let first = store.submit(job()).wait().unwrap().job;
    assert_eq!(store.submit(job()).wait().unwrap().superseded, []);
    assert_eq!(state(&store, first.id), State::Pending);
}

#[test]
fn what_waits_is_read_lane_by_lane() {
    let (store, _dir) = store();
    let submit = |team: &str, concurrency| {
        let queueing = Queueing {
            team: (!team.is_empty()).then(|| team.to_owned()),
            concurrency,
            ..Queueing::default()
        };
        store.submit(job_with(queueing, "")).wait().unwrap().job.id
    };
    let lane = |team: &str, pipeline: &str| Lane {
        queue: "default".into(),
        team: team.into(),
        pipeline: pipeline.into(),
    };
    let plain = [submit("", None), submit("", None)];
    let bounded = [submit("web", Some(1)), submit("web", Some(3))];
    let web = submit("web", None);
    let expected = [
        (lane("", ""), None),
        (lane("web", ""), None),
        (lane("web", "build"), Some(1)),
    ];
    assert_eq!(store.lanes("default").unwrap(), expected);
    assert_eq!(store.lanes("other").unwrap(), []);
    let jobs = |lane: &Lane| -> Vec<JobId> {
        let waiting = store.waiting(lane, 0, 9).unwrap();
        assert!(waiting.iter().all(|it| it.lane == *lane));
        waiting.iter().map(|it| it.job).collect()
    };
    assert_eq!(jobs(&expected[0].0), plain);
    assert_eq!(jobs(&expected[1].0), [web]);
    assert_eq!(jobs(&expected[2].0), bounded);
    let claims = store.claim(vec![assignment(bounded[0])]).wait().unwrap();
    assert_eq!(claims.claimed[0].team, "web");
    let leased = &store.leased().unwrap()[0];
    assert_eq!((&*leased.team, &*leased.pipeline), ("web", "build"));
    assert_eq!(store.lanes("default").unwrap()[2].1, Some(3));
}
