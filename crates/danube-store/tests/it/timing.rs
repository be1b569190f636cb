//! What runs took, as the store tells it.

use danube_model::{Cause, Ended, FailReason, JobId, Step, StepStatus, Timestamp};
use danube_store::{PastRun, Store};

use crate::support::{claim, ended, store, submit_of};

fn step(name: &str, status: StepStatus, times: Option<(i64, i64)>) -> Step {
    Step {
        status,
        started_at: times.map(|it| Timestamp::from_millis(it.0)),
        finished_at: times.map(|it| Timestamp::from_millis(it.1)),
        ..Step::pending(name)
    }
}

/// A job of this pipeline that began its steps and ended so.
fn run(store: &Store, pipeline: &str, end: Ended) -> JobId {
    let claimed = claim(store, submit_of(store, pipeline).id);
    let steps = vec![Step::pending("say")];
    store.started(claimed.attempt, steps).wait().unwrap();
    store.finish(claimed.attempt, end).wait().unwrap();
    claimed.attempt.job
}

fn past(store: &Store, pipeline: &str, wanted: usize) -> Vec<PastRun> {
    let found = store.past_runs(pipeline, wanted).unwrap();
    assert!(!found.is_cut);
    found.runs
}

#[test]
fn only_runs_that_ended_by_themselves_count_newest_first() {
    let (store, _dir) = store();
    let mut counted = Vec::new();
    for cause in [
        Cause::Succeeded,
        Cause::TimedOut,
        Cause::Stopped,
        Cause::Failed(FailReason::StepFailed),
    ] {
        let counts = matches!(cause, Cause::Succeeded | Cause::Failed(_));
        let id = run(&store, "build", ended(cause));
        if counts {
            counted.insert(0, store.job(id).unwrap().unwrap());
        }
    }
    run(&store, "deploy", ended(Cause::Succeeded));
    // One never began its steps, one was cancelled before, one waits.
    let claimed = claim(&store, submit_of(&store, "build").id);
    let broken = ended(Cause::Failed(FailReason::SetupFailed));
    store.finish(claimed.attempt, broken).wait().unwrap();
    let cancelled = submit_of(&store, "build").id;
    store.cancel(cancelled, "admin").wait().unwrap();
    submit_of(&store, "build");

    let runs = past(&store, "build", 10);
    let times = |it: &PastRun| (it.created_at, it.started_at, it.finished_at);
    let expected = counted.iter().map(|it| {
        (
            it.created_at,
            it.started_at.unwrap(),
            it.finished_at.unwrap(),
        )
    });
    assert_eq!(
        runs.iter().map(times).collect::<Vec<_>>(),
        expected.collect::<Vec<_>>()
    );
    assert_eq!(past(&store, "build", 1), runs[..1]);
    assert_eq!(past(&store, "none", 10), []);
}

#[test]
fn steps_that_never_ran_are_left_out() {
    let (store, _dir) = store();
    let end = Ended {
        steps: vec![
            step("good", StepStatus::Success, Some((1_000, 1_250))),
            step("late", StepStatus::Timeout, Some((1_250, 1_500))),
            step("bad", StepStatus::Failure, Some((1_500, 1_501))),
            step("never", StepStatus::Skipped, None),
        ],
        ..ended(Cause::Failed(FailReason::StepFailed))
    };
    run(&store, "build", end);
    let runs = past(&store, "build", 1);
    let steps = runs[0].steps.iter().map(|it| {
        let millis = it.finished_at.as_millis() - it.started_at.as_millis();
        (&*it.name, millis)
    });
    assert_eq!(
        steps.collect::<Vec<_>>(),
        [("good", 250), ("late", 250), ("bad", 1)]
    );
}

#[test]
fn a_run_that_lost_its_worker_once_tells_of_its_last_attempt() {
    let (store, _dir) = store();
    let id = submit_of(&store, "build").id;
    let first = claim(&store, id).attempt;
    let begun = step("say", StepStatus::Running, Some((1, 1)));
    store.started(first, vec![begun]).wait().unwrap();
    store.lease_lost(first, "it fell silent").wait().unwrap();
    let second = claim(&store, id).attempt;
    store.started(second, Vec::new()).wait().unwrap();
    let end = Ended {
        steps: vec![step("say", StepStatus::Success, Some((1_000, 1_007)))],
        ..ended(Cause::Succeeded)
    };
    store.finish(second, end).wait().unwrap();
    let runs = past(&store, "build", 2);
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].attempt, runs[0].steps.len()), (2, 1));
    assert!(runs[0].claimed_at <= runs[0].started_at);

    // One that lost it for good did not end by itself.
    let id = submit_of(&store, "lost").id;
    for _ in 0..3 {
        let attempt = claim(&store, id).attempt;
        store.started(attempt, Vec::new()).wait().unwrap();
        store.lease_lost(attempt, "it fell silent").wait().unwrap();
    }
    assert_eq!(past(&store, "lost", 1), []);
}

#[test]
fn all_pipelines_are_told_of_the_newest_first() {
    let (store, _dir) = store();
    for pipeline in ["b", "ü", "a", "b", "waits"] {
        if pipeline == "waits" {
            submit_of(&store, pipeline);
        } else {
            run(&store, pipeline, ended(Cause::Succeeded));
        }
    }
    let all = store.past_runs_of_all(5, |_| true).unwrap();
    let counts = all
        .pipelines
        .iter()
        .map(|(name, it)| (name.as_str(), it.runs.len()));
    assert_eq!(
        counts.collect::<Vec<_>>(),
        [("waits", 0), ("b", 2), ("a", 1), ("ü", 1)]
    );
    assert!(!all.is_cut);
    assert!(all.pipelines.iter().all(|(_, it)| !it.is_cut));
    assert_eq!(
        store.pipeline_names().unwrap(),
        ["ü", "waits", "b", "a"],
        "backwards, byte by byte"
    );
}
