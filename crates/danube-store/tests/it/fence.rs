//! Any order of claims, results and losses, against a model of a page.

use std::sync::OnceLock;

use danube_model::limits::ATTEMPTS_MAX;
use danube_model::{Attempt, Cause, FailReason, JobId, State, Step};
use danube_store::{CancelOutcome, Store};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use crate::support::{assignment, ended, is_fenced, new_job};

/// What a worker, the master or a person does; the number picks one of the
/// attempts that were ever given, or one that never was.
#[derive(Debug, Clone)]
enum Act {
    Claim,
    Started(usize),
    Step(usize),
    Finish(usize, Cause),
    HandBack(usize),
    Lost(usize),
    Cancel,
}

fn act() -> impl Strategy<Value = Act> {
    let cause = prop_oneof![
        Just(Cause::Succeeded),
        Just(Cause::Failed(FailReason::StepFailed)),
        Just(Cause::TimedOut),
        Just(Cause::Stopped),
    ];
    prop_oneof![
        6 => Just(Act::Claim),
        2 => any::<usize>().prop_map(Act::Started),
        1 => any::<usize>().prop_map(Act::Step),
        1 => (any::<usize>(), cause).prop_map(|(which, cause)| Act::Finish(which, cause)),
        2 => any::<usize>().prop_map(Act::HandBack),
        4 => any::<usize>().prop_map(Act::Lost),
        1 => Just(Act::Cancel),
    ]
}

/// What the job should be.
struct Model {
    state: State,
    fence: u64,
    claims: u32,
    losses: u32,
    retry_on_lost: bool,
    cancel_asked: bool,
    given: Vec<Attempt>,
}

impl Model {
    fn holds(&self, attempt: Attempt) -> bool {
        attempt.fence == self.fence && self.state.is_leased()
    }

    fn pick(&self, which: usize, job: JobId) -> Attempt {
        let never = Attempt {
            job,
            fence: self.fence + 1,
            number: self.claims + 1,
        };
        let at = which % (self.given.len() + 1);
        self.given.get(at).copied().unwrap_or(never)
    }

    fn lose(&mut self) {
        self.losses += 1;
        self.state = if self.cancel_asked {
            State::Cancelled
        } else if !self.retry_on_lost || self.losses >= ATTEMPTS_MAX {
            State::Failure
        } else {
            State::Pending
        };
    }
}

fn step(store: &Store, job: JobId, model: &mut Model, act: &Act) {
    match act {
        Act::Claim => {
            let claimed = store.claim(vec![assignment(job)]).wait().unwrap().claimed;
            assert_eq!(claimed.len(), usize::from(model.state == State::Pending));
            for claimed in claimed {
                assert!(claimed.attempt.fence > model.fence, "fences ascend");
                model.fence = claimed.attempt.fence;
                model.claims += 1;
                assert_eq!(claimed.attempt.number, model.claims);
                model.state = State::Scheduling;
                model.given.push(claimed.attempt);
            }
        }
        Act::Cancel => cancel(store, job, model),
        Act::Started(which) => {
            let attempt = model.pick(*which, job);
            let answer = store.started(attempt, vec![Step::pending("say")]).wait();
            assert_eq!(is_fenced(&answer), !model.holds(attempt));
            if answer.is_ok() {
                model.state = State::Running;
            }
        }
        Act::Step(which) => {
            let attempt = model.pick(*which, job);
            let answer = store.step(attempt, 0, Step::pending("say")).wait();
            assert_eq!(is_fenced(&answer), !model.holds(attempt));
        }
        Act::Finish(which, cause) => {
            let attempt = model.pick(*which, job);
            let answer = store.finish(attempt, ended(cause.clone())).wait();
            assert_eq!(is_fenced(&answer), !model.holds(attempt));
            if answer.is_ok() {
                model.state = State::Running.after(cause).unwrap();
            }
        }
        Act::HandBack(which) => {
            let attempt = model.pick(*which, job);
            let answer = store.hand_back(attempt, "drained", false).wait();
            assert_eq!(is_fenced(&answer), !model.holds(attempt));
            if answer.is_ok() {
                model.state = match model.state {
                    _ if model.cancel_asked => State::Cancelled,
                    State::Running if !model.retry_on_lost => State::Failure,
                    _ => State::Pending,
                };
            }
        }
        Act::Lost(which) => {
            let attempt = model.pick(*which, job);
            let answer = store.lease_lost(attempt, "silent").wait();
            assert_eq!(is_fenced(&answer), !model.holds(attempt));
            if answer.is_ok() {
                model.lose();
            }
        }
    }
}

fn cancel(store: &Store, job: JobId, model: &mut Model) {
    let outcome = store.cancel(job, "anna").wait().unwrap();
    match model.state {
        State::Pending => {
            assert!(matches!(outcome, CancelOutcome::Cancelled(_)));
            model.state = State::Cancelled;
        }
        state if state.is_terminal() => {
            assert!(matches!(outcome, CancelOutcome::AlreadyEnded(_)));
        }
        _ => {
            assert!(matches!(outcome, CancelOutcome::Asked(_)));
            model.cancel_asked = true;
        }
    }
}

fn check(store: &Store, retry_on_lost: bool, acts: &[Act]) {
    let mut new = new_job("build");
    new.retry_on_lost = retry_on_lost;
    let job = store.submit(new).wait().unwrap().job.id;
    let mut model = Model {
        state: State::Pending,
        fence: 0,
        claims: 0,
        losses: 0,
        retry_on_lost,
        cancel_asked: false,
        given: Vec::new(),
    };
    for act in acts {
        step(store, job, &mut model, act);
        let found = store.job(job).unwrap().unwrap();
        assert_eq!((found.state, found.attempt), (model.state, model.claims));
    }
    let history = store.history(job).unwrap().unwrap();
    let ends = history.iter().filter(|it| it.to.is_terminal()).count();
    assert_eq!(ends, usize::from(model.state.is_terminal()));
    assert_eq!(history.last().unwrap().to, model.state);
    assert!(
        history
            .windows(2)
            .all(|pair| pair[1].from == Some(pair[0].to)),
        "each move begins where the one before ended"
    );
    let lost = history.iter().filter(|it| it.cause == "lease_lost").count();
    assert!(lost <= ATTEMPTS_MAX as usize, "attempts are bounded");
}

#[test]
fn no_order_of_claims_results_and_losses_ends_a_job_twice() {
    static STORE: OnceLock<(Store, TempDir)> = OnceLock::new();
    let (store, _dir) = STORE.get_or_init(crate::support::store);
    let mut runner = TestRunner::new(Config {
        cases: 64,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&(any::<bool>(), vec(act(), 1..20)), |(retry, acts)| {
            check(store, retry, &acts);
            Ok(())
        })
        .unwrap();
}
