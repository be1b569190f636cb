//! Which pipeline runs are where: the gauge `cicd.pipeline.run.active`, and what is
//! told when an attempt begins.
//!
//! The store tells every move after its commit, so the gauge is right after a crash
//! too. What the store doesn't know, the last step's end, the worker tells.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use danube_model::{Attempt, Job, JobId, State, Timestamp};
use danube_signals::{RunState, Signals};
use danube_store::{Claimed, Live, Moved};

/// The runs that haven't ended.
pub(crate) struct Runs {
    signals: Signals,
    live: Mutex<Pictured>,
}

/// What the gauge shows now.
#[derive(Default)]
struct Pictured {
    /// Pending jobs by pipeline; one entry a pipeline that has any.
    pending: HashMap<String, u64>,
    /// One entry a job that a worker holds.
    leased: HashMap<JobId, Run>,
}

struct Run {
    pipeline: String,
    state: RunState,
    /// Whose it is, once its worker has it.
    attempt: Option<Attempt>,
    /// What to tell when it begins.
    claim: Option<Box<Claim>>,
}

/// A job that a worker took and hasn't begun.
#[derive(Debug)]
pub(crate) struct Claim {
    /// As it was claimed.
    pub(crate) job: Job,
    /// Since when it waited.
    pub(crate) queued_at: Timestamp,
}

impl Runs {
    pub(crate) fn new(signals: Signals) -> Self {
        Self {
            signals,
            live: Mutex::default(),
        }
    }

    /// A job came to be, or moved.
    pub(crate) fn moved(&self, moved: &Moved) {
        let mut live = self.lock();
        let before = match moved.from {
            None => None,
            Some(State::Pending) => {
                live.leave_queue(&moved.pipeline);
                Some(RunState::Pending)
            }
            Some(_) if moved.to == State::Running => {
                self.executes(&mut live, moved);
                return;
            }
            Some(_) => live.leased.remove(&moved.job).map(|it| it.state),
        };
        self.change(&moved.pipeline, before, live.enter(moved));
    }

    /// The beginning of a run is written down.
    fn executes(&self, live: &mut Pictured, moved: &Moved) {
        let Some(run) = live.leased.get_mut(&moved.job) else {
            return;
        };
        // A run may be quicker than the commit that says that it began.
        if run.state == RunState::Pending {
            run.state = RunState::Executing;
            self.change(&moved.pipeline, Some(RunState::Pending), Some(run.state));
        }
    }

    /// Everything was counted anew.
    pub(crate) fn counted(&self, found: &Live) {
        let mut live = self.lock();
        let Pictured { pending, leased } = std::mem::take(&mut *live);
        for (pipeline, jobs) in pending {
            self.add(&pipeline, RunState::Pending, -signed(jobs));
        }
        for run in leased.values() {
            self.add(&run.pipeline, run.state, -1);
        }
        for it in &found.pending {
            self.signals.expect_runs(&it.pipeline);
            self.add(&it.pipeline, RunState::Pending, signed(it.jobs));
            *live.pending.entry(it.pipeline.clone()).or_default() += it.jobs;
        }
        let mut leased = leased;
        for moved in &found.leased {
            self.signals.expect_runs(&moved.pipeline);
            self.change(&moved.pipeline, None, live.enter(moved));
            // What the store doesn't know: whose it is, and what is still to be told.
            if let (Some(run), Some(known)) =
                (live.leased.get_mut(&moved.job), leased.remove(&moved.job))
            {
                run.attempt = known.attempt;
                run.claim = known.claim;
            }
        }
    }

    /// A worker gets the job.
    pub(crate) fn claimed(&self, claimed: &Claimed) {
        // The claim's commit made the entry; a job that is gone meanwhile has none.
        if let Some(run) = self.lock().leased.get_mut(&claimed.attempt.job) {
            run.attempt = Some(claimed.attempt);
            run.claim = Some(Box::new(Claim {
                job: claimed.job.clone(),
                queued_at: claimed.queued_at,
            }));
        }
    }

    /// Its first step is about to begin. What to tell of it, once.
    pub(crate) fn begins(&self, attempt: Attempt) -> Option<Box<Claim>> {
        let mut live = self.lock();
        let claim = &mut live.leased.get_mut(&attempt.job)?.claim;
        claim.take_if(|it| it.job.attempt == attempt.number)
    }

    /// Its last step has ended.
    pub(crate) fn finalizes(&self, attempt: Attempt) {
        let mut live = self.lock();
        let run = live.leased.get_mut(&attempt.job);
        // Its lease may be gone, and the job be with another attempt.
        let Some(run) = run.filter(|it| it.attempt == Some(attempt)) else {
            return;
        };
        let before = std::mem::replace(&mut run.state, RunState::Finalizing);
        self.change(&run.pipeline, Some(before), Some(run.state));
    }

    fn change(&self, pipeline: &str, from: Option<RunState>, to: Option<RunState>) {
        if from == to {
            return;
        }
        if let Some(from) = from {
            self.add(pipeline, from, -1);
        }
        if let Some(to) = to {
            self.add(pipeline, to, 1);
        }
    }

    fn add(&self, pipeline: &str, state: RunState, runs: i64) {
        let cells = self.signals.cicd_pipeline_run_active.with([pipeline]);
        cells.at(state).add(runs);
    }

    fn lock(&self) -> MutexGuard<'_, Pictured> {
        // Nothing panics while it holds this.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pictured {
    /// Where the job is from now on; none when it has ended.
    fn enter(&mut self, moved: &Moved) -> Option<RunState> {
        let state = match moved.to {
            State::Pending => {
                match self.pending.get_mut(&moved.pipeline) {
                    Some(jobs) => *jobs += 1,
                    None => drop(self.pending.insert(moved.pipeline.clone(), 1)),
                }
                return Some(RunState::Pending);
            }
            // Its worker prepares its place: that is waiting, to the conventions.
            State::Scheduling => RunState::Pending,
            State::Running => RunState::Executing,
            State::Success | State::Failure | State::Timeout | State::Cancelled => return None,
        };
        let run = Run::new(&moved.pipeline, state);
        self.leased.insert(moved.job, run);
        Some(state)
    }

    fn leave_queue(&mut self, pipeline: &str) {
        if let Some(jobs) = self.pending.get_mut(pipeline) {
            *jobs -= 1;
            if *jobs == 0 {
                self.pending.remove(pipeline);
            }
        }
    }
}

impl Run {
    fn new(pipeline: &str, state: RunState) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            state,
            attempt: None,
            claim: None,
        }
    }
}

fn signed(jobs: u64) -> i64 {
    i64::try_from(jobs).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use danube_model::Kind;
    use danube_signals::{BuildInfo, Limits};
    use danube_store::Waiters;

    use super::*;

    struct Rig {
        runs: Runs,
        job: JobId,
        at: Option<State>,
    }

    impl Rig {
        fn new() -> Self {
            Self {
                runs: Runs::new(Signals::new(BuildInfo::default(), Limits::default())),
                job: JobId::new(),
                at: None,
            }
        }

        #[track_caller]
        fn goes(&mut self, to: State, shown: [f64; 3]) {
            self.runs.moved(&moved(self.job, self.at, to));
            self.at = Some(to);
            if to == State::Scheduling {
                let mut live = self.runs.lock();
                live.leased.get_mut(&self.job).unwrap().attempt = Some(self.attempt());
            }
            self.shows(shown);
        }

        fn attempt(&self) -> Attempt {
            Attempt {
                job: self.job,
                fence: 1,
                number: 1,
            }
        }

        #[track_caller]
        fn shows(&self, shown: [f64; 3]) {
            let found = ["pending", "executing", "finalizing"].map(|state| {
                let labels =
                    format!("cicd_pipeline_name=\"p\",cicd_pipeline_run_state=\"{state}\"");
                let name = format!("cicd_pipeline_run_active{{{labels}}}");
                self.runs.signals.registry().value(&name).unwrap()
            });
            assert_eq!(found, shown);
        }
    }

    fn moved(job: JobId, from: Option<State>, to: State) -> Moved {
        Moved {
            job,
            pipeline: "p".to_owned(),
            kind: Kind::Pipeline,
            queue: "default".to_owned(),
            from,
            to,
        }
    }

    #[test]
    fn a_run_is_in_one_state_at_a_time_and_in_none_at_its_end() {
        let mut rig = Rig::new();
        rig.goes(State::Pending, [1.0, 0.0, 0.0]);
        rig.goes(State::Scheduling, [1.0, 0.0, 0.0]);
        rig.goes(State::Running, [0.0, 1.0, 0.0]);
        rig.runs.finalizes(rig.attempt());
        rig.shows([0.0, 0.0, 1.0]);
        rig.goes(State::Pending, [1.0, 0.0, 0.0]);
        rig.goes(State::Cancelled, [0.0, 0.0, 0.0]);
        rig.runs.finalizes(rig.attempt());
        rig.shows([0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_run_whose_end_comes_before_its_beginning_is_written_down_stays_at_its_end() {
        let mut rig = Rig::new();
        rig.goes(State::Pending, [1.0, 0.0, 0.0]);
        rig.goes(State::Scheduling, [1.0, 0.0, 0.0]);
        rig.runs.finalizes(rig.attempt());
        rig.shows([0.0, 0.0, 1.0]);
        rig.goes(State::Running, [0.0, 0.0, 1.0]);
        rig.goes(State::Success, [0.0, 0.0, 0.0]);
    }

    #[test]
    fn what_is_counted_anew_takes_the_place_of_what_was_known() {
        let mut rig = Rig::new();
        rig.goes(State::Pending, [1.0, 0.0, 0.0]);
        rig.goes(State::Scheduling, [1.0, 0.0, 0.0]);
        let live = Live {
            pending: vec![Waiters {
                pipeline: "p".to_owned(),
                kind: Kind::Pipeline,
                queue: "default".to_owned(),
                jobs: 3,
            }],
            leased: vec![moved(rig.job, None, State::Running)],
        };
        rig.runs.counted(&live);
        rig.shows([3.0, 1.0, 0.0]);
        rig.runs.counted(&live);
        rig.shows([3.0, 1.0, 0.0]);
        rig.at = Some(State::Running);
        rig.goes(State::Success, [3.0, 0.0, 0.0]);
        rig.runs.counted(&Live::default());
        rig.shows([0.0, 0.0, 0.0]);
    }
}
