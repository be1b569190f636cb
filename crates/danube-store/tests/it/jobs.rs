//! One job's way, and every refusal on it.

use std::time::Duration;

use danube_model::{Cause, FailReason, JobId, Order, State, Step, StepStatus, Trace, Trigger};
use danube_store::{
    CancelOutcome, Counts, Idempotency, LeaseState, Options, Retry, RetryOutcome, Store, StoreError,
};

use crate::support::{
    assignment, claim, ended, is_fenced, new_job, order, plain_lane, recorded, running, store,
    submit,
};

#[test]
fn a_job_that_goes_well_is_remembered_with_its_history() {
    let (store, _dir) = store();
    let job = submit(&store);
    assert_eq!(job.state, State::Pending);
    assert_eq!(job.trigger_ref.as_deref(), Some("main"));

    let claimed = claim(&store, job.id);
    assert_eq!(claimed.order, order("build"));
    assert_eq!(claimed.job.state, State::Scheduling);
    assert_eq!((claimed.attempt.fence, claimed.attempt.number), (1, 1));
    assert!(claimed.job.traceparent.starts_with("00-0af7"));

    let attempt = claimed.attempt;
    let running = Step {
        status: StepStatus::Running,
        log_start: Some(0),
        cpu_seconds: Some(0.25),
        ..Step::pending("say")
    };
    // Neither is waited for: the finish comes after both all the same.
    let started = store.started(attempt, vec![Step::pending("say")]);
    let step = store.step(attempt, 0, running);
    let finished = store.finish(attempt, ended(Cause::Succeeded)).wait();
    let job = finished.unwrap();
    started.wait().unwrap();
    step.wait().unwrap();

    assert_eq!(job.state, State::Success);
    assert_eq!(job.steps.len(), 1);
    assert_eq!(job.steps[0].status, StepStatus::Success);
    assert_eq!((job.exit_code, job.log_bytes), (Some(0), 3));
    assert_eq!(job.log_complete, Some(true));
    assert!(job.started_at.is_some() && job.finished_at.is_some());
    assert_eq!(store.job(job.id).unwrap(), Some(job.clone()));

    let history = store.history(job.id).unwrap().unwrap();
    let moves: Vec<_> = history
        .iter()
        .map(|it| {
            (
                it.from,
                it.to,
                it.cause.as_str(),
                it.attempt,
                it.by.as_str(),
            )
        })
        .collect();
    use State::{Pending, Running, Scheduling, Success};
    assert_eq!(
        moves,
        [
            (None, Pending, "submitted", 0, "admin"),
            (Some(Pending), Scheduling, "claimed", 1, "w1"),
            (Some(Scheduling), Running, "started", 1, "w1"),
            (Some(Running), Success, "succeeded", 1, "w1"),
        ]
    );
}

#[test]
fn everything_survives_a_restart() {
    let (store, dir) = store();
    let waiting = submit(&store).id;
    let attempt = running(&store);
    let before = (store.job(waiting).unwrap(), store.job(attempt.job).unwrap());

    let store = crate::support::reopened(store, dir.path());
    let after = (store.job(waiting).unwrap(), store.job(attempt.job).unwrap());
    assert_eq!(before, after);
    assert_eq!(
        store.counts(),
        Counts {
            pending: 1,
            active: 1
        }
    );
    assert_eq!(store.leased().unwrap()[0].attempt, attempt);
    assert_eq!(claim(&store, waiting).order, order("build"));
}

#[test]
fn an_id_is_used_once() {
    let (store, _dir) = store();
    let job = new_job("build");
    let id = job.id;
    store.submit(job.clone()).wait().unwrap();
    assert_eq!(store.submit(job).wait(), Err(StoreError::JobExists(id)));
    assert_eq!(store.counts().pending, 1);
}

#[test]
fn one_refused_request_doesnt_spoil_those_beside_it() {
    let (store, _dir) = store();
    let known = submit(&store).id;
    let answers: Vec<_> = (0..40)
        .map(|nth| {
            let mut job = new_job("build");
            if nth % 2 == 0 {
                job.id = known;
            }
            (job.id, store.submit(job))
        })
        .collect();
    for (id, answer) in answers {
        assert_eq!(answer.wait().is_ok(), id != known);
        assert!(store.job(id).unwrap().is_some());
    }
    assert_eq!(store.counts().pending, 21);
}

#[test]
fn a_job_is_claimed_once() {
    let (store, _dir) = store();
    let id = submit(&store).id;
    let twice = vec![assignment(id), assignment(id), assignment(JobId::new())];
    assert_eq!(store.claim(twice).wait().unwrap().claimed.len(), 1);
    let again = store.claim(vec![assignment(id)]).wait().unwrap();
    assert!(again.claimed.is_empty() && again.failed.is_empty());
}

#[test]
fn a_finish_tells_of_a_start_that_was_refused() {
    let (store, _dir) = store();
    let claimed = claim(&store, submit(&store).id);
    let job = store.finish(claimed.attempt, ended(Cause::Succeeded));
    assert_eq!(job.wait().unwrap().state, State::Success);
    let history = store.history(claimed.attempt.job).unwrap().unwrap();
    assert_eq!(history[2].cause, "started");
}

#[test]
fn each_end_has_its_state() {
    let (store, _dir) = store();
    for (cause, state) in [
        (Cause::Succeeded, State::Success),
        (Cause::Failed(FailReason::StepFailed), State::Failure),
        (Cause::TimedOut, State::Timeout),
        (Cause::Stopped, State::Cancelled),
    ] {
        let attempt = running(&store);
        let mut how = ended(cause);
        how.reason = Some("why".into());
        how.log_complete = false;
        how.log_missing_bytes = 7;
        let job = store.finish(attempt, how).wait().unwrap();
        assert_eq!(job.state, state);
        assert_eq!(job.reason.as_deref(), Some("why"));
        assert_eq!((job.log_complete, job.log_missing_bytes), (Some(false), 7));
    }
}

#[test]
fn what_isnt_an_end_doesnt_finish() {
    let (store, _dir) = store();
    let attempt = running(&store);
    for cause in [
        Cause::HandedBack,
        Cause::Claimed,
        Cause::Started,
        Cause::CancelAsked,
    ] {
        let answer = store.finish(attempt, ended(cause)).wait();
        assert!(matches!(answer, Err(StoreError::Internal(_))), "{answer:?}");
    }
    assert_eq!(
        store.job(attempt.job).unwrap().unwrap().state,
        State::Running
    );
}

#[test]
fn a_pending_job_is_cancelled_at_once() {
    let (store, _dir) = store();
    let id = submit(&store).id;
    let CancelOutcome::Cancelled(job) = store.cancel(id, "anna").wait().unwrap() else {
        panic!("a pending job is cancelled");
    };
    assert_eq!(job.state, State::Cancelled);
    assert_eq!(job.reason.as_deref(), Some("cancelled by anna"));
    let again = store.cancel(id, "anna").wait().unwrap();
    assert_eq!(again, CancelOutcome::AlreadyEnded(job));
    assert_eq!(
        store.cancel(JobId::new(), "anna").wait().unwrap(),
        CancelOutcome::NotFound
    );
}

#[test]
fn a_running_job_is_asked_to_stop() {
    let (store, _dir) = store();
    let attempt = running(&store);
    assert_eq!(
        store.check(attempt).unwrap(),
        LeaseState::Held {
            cancel_asked: false
        }
    );
    for by in ["anna", "bert"] {
        let CancelOutcome::Asked(job) = store.cancel(attempt.job, by).wait().unwrap() else {
            panic!("a running job is asked");
        };
        assert!(job.cancel_asked && job.state == State::Running);
    }
    assert!(store.leased().unwrap()[0].cancel_asked);
    assert_eq!(
        store.check(attempt).unwrap(),
        LeaseState::Held { cancel_asked: true }
    );
    let job = store.finish(attempt, ended(Cause::Stopped)).wait().unwrap();
    assert_eq!(job.state, State::Cancelled);
    assert_eq!(job.reason.as_deref(), Some("cancelled by anna"));
    assert_eq!(store.check(attempt).unwrap(), LeaseState::Lost);
}

#[test]
fn a_job_that_succeeds_before_it_is_stopped_has_succeeded() {
    let (store, _dir) = store();
    let attempt = running(&store);
    store.cancel(attempt.job, "anna").wait().unwrap();
    let job = store
        .finish(attempt, ended(Cause::Succeeded))
        .wait()
        .unwrap();
    assert_eq!(job.state, State::Success);
}

#[test]
fn a_lost_worker_costs_an_attempt_until_none_is_left() {
    let (store, _dir) = store();
    let id = submit(&store).id;
    for (nth, state) in [
        (1, State::Pending),
        (2, State::Pending),
        (3, State::Failure),
    ] {
        let claimed = claim(&store, id);
        assert_eq!(claimed.attempt.number, nth);
        let mut step = Step::pending("say");
        step.status = StepStatus::Running;
        let steps = vec![step, Step::pending("next")];
        store.started(claimed.attempt, steps).wait().unwrap();
        let job = store.lease_lost(claimed.attempt, "silent").wait().unwrap();
        assert_eq!(job.state, state);
        let statuses: Vec<_> = job.steps.iter().map(|it| it.status).collect();
        assert_eq!(statuses, [StepStatus::Cancelled, StepStatus::Skipped]);
    }
    let job = store.job(id).unwrap().unwrap();
    assert_eq!(job.reason.as_deref(), Some("worker lost 3 times (silent)"));
}

#[test]
fn a_later_success_still_says_that_the_job_may_have_run_twice() {
    let (store, _dir) = store();
    let id = submit(&store).id;
    let first = claim(&store, id).attempt;
    store.lease_lost(first, "silent").wait().unwrap();
    let second = claim(&store, id).attempt;
    let job = store
        .finish(second, ended(Cause::Succeeded))
        .wait()
        .unwrap();
    assert_eq!((job.state, job.attempt), (State::Success, 2));
    assert_eq!(job.reason.as_deref(), Some("worker lost once (silent)"));
}

#[test]
fn a_job_that_runs_at_most_once_isnt_run_again() {
    let (store, _dir) = store();
    for lose in [true, false] {
        let mut job = new_job("build");
        job.retry_on_lost = false;
        let id = store.submit(job).wait().unwrap().job.id;
        let attempt = claim(&store, id).attempt;
        store.started(attempt, Vec::new()).wait().unwrap();
        let job = if lose {
            store.lease_lost(attempt, "silent").wait().unwrap()
        } else {
            store.hand_back(attempt, "drained", false).wait().unwrap()
        };
        assert_eq!(job.state, State::Failure);
        assert!(job.reason.unwrap().ends_with("this job runs at most once"));
    }
}

#[test]
fn a_lost_job_that_was_to_be_cancelled_is_cancelled() {
    let (store, _dir) = store();
    for lose in [true, false] {
        let attempt = running(&store);
        store.cancel(attempt.job, "anna").wait().unwrap();
        let job = if lose {
            store.lease_lost(attempt, "silent").wait().unwrap()
        } else {
            store.hand_back(attempt, "drained", false).wait().unwrap()
        };
        assert_eq!(job.state, State::Cancelled);
        assert!(job.reason.unwrap().starts_with("cancelled by anna"));
    }
}

#[test]
fn handing_back_costs_no_attempt() {
    let (store, _dir) = store();
    let id = submit(&store).id;
    for nth in 1..=5 {
        let claimed = claim(&store, id);
        assert_eq!(claimed.attempt.number, nth);
        let job = store
            .hand_back(claimed.attempt, "drained", false)
            .wait()
            .unwrap();
        assert_eq!(job.state, State::Pending);
        assert_eq!(job.reason.as_deref(), Some("drained"));
    }
    let attempt = claim(&store, id).attempt;
    let job = store.lease_lost(attempt, "silent").wait().unwrap();
    assert_eq!(job.state, State::Pending, "the first loss of three");
}

#[test]
fn an_old_fence_changes_nothing() {
    let (store, _dir) = store();
    let id = submit(&store).id;
    let old = claim(&store, id).attempt;
    store.lease_lost(old, "silent").wait().unwrap();
    let new = claim(&store, id).attempt;
    assert!(new.fence > old.fence);
    store
        .started(new, vec![Step::pending("say")])
        .wait()
        .unwrap();
    let before = store.job(id).unwrap();

    assert!(is_fenced(&store.started(old, Vec::new()).wait()));
    assert!(is_fenced(&store.step(old, 0, Step::pending("x")).wait()));
    assert!(is_fenced(
        &store.finish(old, ended(Cause::Succeeded)).wait()
    ));
    assert!(is_fenced(&store.hand_back(old, "late", false).wait()));
    assert!(is_fenced(&store.lease_lost(old, "late").wait()));
    assert_eq!(store.check(old).unwrap(), LeaseState::Lost);
    assert_eq!(store.job(id).unwrap(), before);

    store.finish(new, ended(Cause::Succeeded)).wait().unwrap();
    assert!(is_fenced(
        &store.finish(new, ended(Cause::Succeeded)).wait()
    ));
}

#[test]
fn a_retry_is_a_new_job_with_the_same_order() {
    let (store, _dir) = store();
    let attempt = running(&store);
    let retry = |new: JobId| Retry {
        job: attempt.job,
        new,
        by: "anna".into(),
        owner: "1".into(),
        trace_id: "1bf7651916cd43dd8448eb211c80319c".into(),
        traceparent: "00-1bf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        trace: Trace {
            source_type: "retry".into(),
            ..Trace::default()
        },
    };
    assert!(matches!(
        store.retry(retry(JobId::new())).wait().unwrap(),
        RetryOutcome::NotEnded(_)
    ));
    let failed = ended(Cause::Failed(FailReason::StepFailed));
    store.finish(attempt, failed).wait().unwrap();

    let RetryOutcome::Made(job) = store.retry(retry(JobId::new())).wait().unwrap() else {
        panic!("an ended job is retried");
    };
    assert_eq!(job.retry_of, Some(attempt.job));
    assert_eq!(
        (job.trigger, job.submitted_by.as_str()),
        (Trigger::Retry, "anna")
    );
    assert_eq!(store.job(job.id).unwrap(), Some(job.clone()));
    let claimed = claim(&store, job.id);
    let follows = claimed.order.trace.follows.clone().expect("it follows one");
    assert_eq!(
        (&follows.job, follows.attempt),
        (&attempt.job.to_string(), 1)
    );
    assert_eq!(claimed.order.trace.source_type, "retry");
    let same = Order {
        trace: Trace::default(),
        ..claimed.order
    };
    assert_eq!(same, order("build"));
    assert!(claimed.job.traceparent.starts_with("00-1bf7"));
    let trace = store.job_trace(job.id).unwrap().expect("it is there");
    assert_eq!(trace.trace.follows, Some(follows));
    assert_eq!((trace.moves.len(), trace.attempts.len()), (2, 1));

    let again = store.retry(retry(job.id)).wait();
    assert_eq!(again, Err(StoreError::JobExists(job.id)));
    let unknown = Retry {
        job: JobId::new(),
        ..retry(JobId::new())
    };
    assert_eq!(store.retry(unknown).wait().unwrap(), RetryOutcome::NotFound);
}

fn with_key(key: &str, body: u8) -> danube_store::NewJob {
    let mut job = new_job("build");
    job.idempotency = Some(Idempotency {
        key: key.into(),
        body_sha256: [body; 32],
    });
    job
}

#[test]
fn a_repeated_submit_is_answered_with_the_first_job() {
    let (store, _dir) = store();
    let first = store.submit(with_key("k", 1)).wait().unwrap();
    assert!(!first.replayed);
    let attempt = claim(&store, first.job.id).attempt;

    let second = store.submit(with_key("k", 1)).wait().unwrap();
    assert!(second.replayed);
    assert_eq!(second.job.id, first.job.id);
    assert_eq!(second.job.state, State::Scheduling, "as it is now");

    let other_body = store.submit(with_key("k", 2)).wait();
    let conflict = StoreError::IdempotencyConflict { job: attempt.job };
    assert_eq!(other_body, Err(conflict));

    let mut other_owner = with_key("k", 2);
    other_owner.owner = "2".into();
    assert!(!store.submit(other_owner).wait().unwrap().replayed);
    assert!(!store.submit(with_key("l", 2)).wait().unwrap().replayed);
}

#[test]
fn an_expired_idempotency_key_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        idempotency_kept: Duration::ZERO,
        ..Options::default()
    };
    let store = Store::open(dir.path(), options).unwrap();
    for body in 0..20 {
        let answer = store.submit(with_key("k", body)).wait().unwrap();
        assert!(!answer.replayed);
        store
            .submit(with_key(&format!("{body}"), body))
            .wait()
            .unwrap();
    }
    drop(store);
    let connection = rusqlite::Connection::open(dir.path().join("danube.db")).unwrap();
    let kept: i64 = connection
        .query_row("SELECT count(*) FROM idempotency", [], |row| row.get(0))
        .unwrap();
    assert!(kept <= 1, "{kept} expired keys are kept");
}

#[test]
fn jobs_are_found_by_their_short_id() {
    let (store, _dir) = store();
    let id = submit(&store).id;
    submit(&store);
    assert_eq!(store.resolve_short(&id.short()).unwrap(), [id]);
    assert_eq!(
        store.resolve_short(&id.short().to_uppercase()).unwrap(),
        [id]
    );
    assert!(store.resolve_short("00000000").unwrap().is_empty());
    assert!(store.resolve_short("").unwrap().is_empty());

    // Another job whose last 40 bits are the same.
    let mut bytes = *id.as_bytes();
    bytes[5] ^= 1;
    let mut twin = new_job("build");
    twin.id = JobId::from_bytes(bytes);
    store.submit(twin).wait().unwrap();
    assert_eq!(store.resolve_short(&id.short()).unwrap().len(), 2);
}

#[test]
fn the_queue_is_in_the_order_of_acceptance() {
    let (store, _dir) = store();
    let ids: Vec<_> = (0..5).map(|_| submit(&store).id).collect();
    let first = claim(&store, ids[0]).attempt;
    claim(&store, ids[1]);
    let waiting = |limit| -> Vec<_> {
        let waiting = store.waiting(&plain_lane(), 0, limit).unwrap();
        waiting.iter().map(|it| it.job).collect()
    };
    assert_eq!(waiting(2), ids[2..4]);
    store.lease_lost(first, "silent").wait().unwrap();
    assert_eq!(waiting(9), [ids[0], ids[2], ids[3], ids[4]]);
    assert_eq!(store.leased().unwrap().len(), 1);
}

#[test]
fn an_order_that_cant_be_unsealed_fails_its_job_and_no_other() {
    let (store, dir) = store();
    let (bad, good) = (submit(&store).id, submit(&store).id);
    let connection = rusqlite::Connection::open(dir.path().join("danube.db")).unwrap();
    // The order of another job, moved here: a swapped ciphertext.
    connection
        .execute(
            "UPDATE orders SET sealed = (SELECT sealed FROM orders WHERE seq = 2) WHERE seq = 1",
            [],
        )
        .unwrap();
    let both = vec![assignment(bad), assignment(good)];
    let claims = store.claim(both).wait().unwrap();
    assert_eq!(claims.claimed.len(), 1);
    assert_eq!(claims.claimed[0].job.id, good);
    // Its end is answered, so that somebody tells of it.
    assert_eq!(claims.failed.len(), 1);
    assert_eq!(claims.failed[0].id, bad);
    let job = store.job(bad).unwrap().unwrap();
    assert_eq!(job.state, State::Failure);
    assert!(job.reason.unwrap().contains("can't be unsealed"));
    assert_eq!(
        store.counts(),
        Counts {
            pending: 0,
            active: 1
        }
    );
}

#[test]
fn the_meter_hears_of_every_statement_and_count() {
    let dir = tempfile::tempdir().unwrap();
    let (store, heard) = recorded(dir.path());
    let attempt = running(&store);
    submit(&store);
    assert_eq!(*heard.counts.lock().unwrap(), (1, 1));
    assert_eq!(
        store.counts(),
        Counts {
            pending: 1,
            active: 1
        }
    );
    store
        .finish(attempt, ended(Cause::Succeeded))
        .wait()
        .unwrap();
    assert_eq!(*heard.counts.lock().unwrap(), (1, 0));

    let count = |name: &str| heard.operations.lock().unwrap().get(name).copied();
    let selects = count("select").unwrap();
    store.ping().unwrap();
    assert_eq!(count("select").unwrap(), selects + 1);
    let inserts = count("insert").unwrap();
    submit(&store);
    // The job and its order.
    assert_eq!(count("insert").unwrap(), inserts + 2);
    assert!(count("update").unwrap() > 0);

    use std::sync::atomic::Ordering::Relaxed;
    assert!(heard.connections_max.load(Relaxed) >= 1);
    assert!(store.close(Duration::from_secs(10)));
    assert_eq!(heard.connections.load(Relaxed), 0);
}

#[test]
fn a_closed_store_says_so() {
    let (store, _dir) = store();
    let last = store.submit(new_job("build"));
    assert!(store.close(Duration::from_secs(10)));
    assert!(last.wait().is_ok(), "what waited was written");
    assert_eq!(
        store.submit(new_job("build")).wait(),
        Err(StoreError::Closed)
    );
    assert_eq!(store.ping(), Err(StoreError::Closed));
    assert!(store.close(Duration::from_secs(10)), "twice is once");
}
