//! One attempt at a job, from the empty workspace to the report. What is done in the
//! workspace is in `pipeline.rs` and `playbook.rs`.

mod around;
mod coordinator;
mod given;
mod install;
mod leave;
mod pipeline;
mod playbook;
mod said;

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use danube_executor::{Control, ExecutorError, StepOutcome, StepPlan, Stop, run_step};
use danube_joblog::{LogError, Mark, Summary};
use danube_model::{FailReason, Step, StepStatus, Task, Timestamp};
use danube_redact::Secrets;
use danube_signals::{JobSpans, StepCompleted, StepStarted, job_span};

use crate::calls::Calls;
use crate::dispatch::{ReportError, Work};
use crate::export::About;
use crate::output::LogOutput;
use crate::place::Place;
use crate::report::{Outcome, report};
use crate::token::JobToken;
use coordinator::{Called, Captured, Served, Serves};
use leave::Wanted;
use said::{Heeds, Said};

use crate::trace::{About as AboutEnd, Recorder, Traced, context_of};
use crate::verdict::{Clock, Verdict, after_step, broke, step_status, told_by_span};
use crate::worker::{Inner, Settings};

/// What one attempt has for itself.
pub(crate) struct Own {
    /// How it is stopped.
    pub(crate) control: Control,
    /// What its log keeps out; values may be added from outside while it runs.
    pub(crate) secrets: Secrets,
    /// What its steps show to the server.
    pub(crate) token: JobToken,
    /// What its coordinator asks for, where it has one.
    pub(crate) calls: Option<Arc<Calls>>,
}

/// The rules for a job's log, and no values yet.
pub(crate) fn secrets(settings: &Settings) -> Secrets {
    Secrets::new(settings.rules.get())
}

/// Runs the job and reports how it ended. Never panics on what a job does.
pub(crate) fn run(inner: &Inner, work: &Work, own: &Own) {
    let job = work.attempt.job.to_string();
    let ids = JobSpans {
        job_id: &job,
        context: context_of(&work.traceparent),
    };
    let context = ids.attempt(work.attempt.number);
    let _in_job = job_span(&job, &context).entered();
    let mut recorder = Recorder::start();
    for mask in &work.order.masks {
        // Whoever sent it was refused if the redactor wouldn't take it, and a
        // short one if nobody insisted.
        let _ = own.secrets.register_short(mask.as_bytes());
    }
    let _ = own.secrets.register(own.token.text().as_bytes());
    if own.calls.is_some() {
        let of_steps = own.token.of_steps();
        let _ = own.secrets.register(of_steps.text().as_bytes());
    }
    let mut commit = None;
    let outcome = match Running::begin(inner, work, (own, ids), &mut recorder) {
        Ok((mut running, from)) => {
            // Until the log is closed.
            let _followed = inner.export.as_ref().map(|export| {
                export.follow(About {
                    job: &job,
                    pipeline: work.order.task.name(),
                    steps: step_names(work),
                    context,
                    from,
                })
            });
            let verdict = running.all_steps();
            commit = running.commit.take();
            running.end(verdict)
        }
        Err(error) => Outcome {
            verdict: broke(FailReason::LogFailed, error.to_string()),
            steps: skipped(work),
            timeout: None,
            summary: None,
        },
    };
    let about = AboutEnd {
        worker: &inner.settings.id,
        commit,
        end: told_by_span(&outcome.verdict),
        reason: match &outcome.verdict {
            Verdict::Ended { reason, .. } => reason.clone(),
            Verdict::HandBack | Verdict::Lost => None,
        },
    };
    let is_lost = outcome.verdict == Verdict::Lost;
    let traced = Traced::new(work.attempt, &recorder.end(work, about), &own.secrets);
    let dispatch = inner.dispatch.as_ref();
    if let Some(calls) = &own.calls {
        calls.close();
    }
    if !is_lost {
        dispatch.ends(&traced);
    }
    let is_taken = report(dispatch, work.attempt, outcome, &own.secrets);
    if !is_lost {
        dispatch.ended(traced, is_taken);
    }
}

/// An attempt that has its log.
struct Running<'a> {
    inner: &'a Inner,
    work: &'a Work,
    own: &'a Own,
    ids: JobSpans<'a>,
    recorder: &'a mut Recorder,
    output: LogOutput,
    steps: Vec<Step>,
    /// So many of them were known from the start; others were called for.
    declared: usize,
    deadline: Instant,
    /// The limit that the latest step ran against, in seconds.
    limit: u64,
    commit: Option<String>,
    /// When the latest step began.
    began: Instant,
    /// What is wanted of the latest step's output beside the log.
    said: Option<Said>,
    /// Which files of the next step are kept.
    wanted: Option<Wanted>,
    /// Its coordinator said that it is a failure, and why.
    reported: Option<String>,
    /// The socket that leads to the server, as its steps see it.
    socket: Option<String>,
}

/// How a step is run.
struct How<'h> {
    timeout_seconds: Option<u64>,
    may_fail: bool,
    way: Way<'h>,
}

/// What is done beside a step's way into the log.
enum Way<'h> {
    /// Nothing, but for what is heeded of Ansible's output.
    Plain,
    /// Its calls are served.
    Serves(&'h Served<'h>),
    /// A coordinator asked for it.
    Called {
        captured: &'h mut Captured,
        /// Readable when that has ended.
        coordinator: BorrowedFd<'h>,
    },
}

impl How<'_> {
    /// For as long as the job may take, and the job fails with it.
    const PLAIN: Self = Self {
        timeout_seconds: None,
        may_fail: false,
        way: Way::Plain,
    };
}

impl<'a> Running<'a> {
    /// Opens the log; it comes with where this attempt's part of it begins.
    fn begin(
        inner: &'a Inner,
        work: &'a Work,
        (own, ids): (&'a Own, JobSpans<'a>),
        recorder: &'a mut Recorder,
    ) -> Result<(Self, u64), LogError> {
        let job = work.attempt.job.to_string();
        let writer = inner.logs.writer(&job, &own.secrets)?;
        let mut output = LogOutput::new(writer, own.control.clone(), &inner.signals, job);
        let from = output.mark(Mark::Attempt(work.attempt.number));
        let seconds = work.order.task.max_duration_seconds();
        let steps: Vec<Step> = step_names(work)
            .iter()
            .map(|name| Step::pending(name))
            .collect();
        let running = Self {
            inner,
            work,
            own,
            ids,
            recorder,
            output,
            declared: steps.len(),
            steps,
            deadline: Instant::now() + Duration::from_secs(seconds),
            limit: seconds,
            commit: None,
            began: Instant::now(),
            said: None,
            wanted: None,
            reported: None,
            socket: None,
        };
        Ok((running, from))
    }

    /// Makes the place, runs the steps in it, removes it.
    fn all_steps(&mut self) -> Verdict {
        let began = self.recorder.now();
        let place = match Place::make(
            &self.inner.walls,
            &self.work.attempt.job.to_string(),
            has_source(&self.work.order.task),
        ) {
            Ok(place) => place,
            Err(error) => {
                return broke(FailReason::SetupFailed, format!("make workspace: {error}"));
            }
        };
        self.recorder.created(began);
        let verdict = self.work_in(&place);
        self.inner.dispatch.finalizing(self.work.attempt);
        self.recorder.removes();
        if let Err(error) = place.remove() {
            self.inner.signals.emit(danube_signals::WorkspaceLeft {
                job_id: &self.work.attempt.job.to_string(),
                error: &error.to_string(),
            });
        }
        self.recorder.removed();
        verdict
    }

    /// Does the work in its place.
    fn work_in(&mut self, place: &Place) -> Verdict {
        let started = self.inner.dispatch.started(self.work.attempt, &self.steps);
        if let Err(ReportError::Fenced) = started {
            return Verdict::Lost;
        }
        match &self.work.order.task {
            Task::Pipeline(it) => self.run_pipeline(place, it),
            Task::Playbook(it) => self.run_playbook_job(place, it),
        }
    }

    /// Runs one step and tells of it; the verdict when the job ends with it.
    fn step(&mut self, index: usize, mut plan: StepPlan, how: How<'_>) -> Option<Verdict> {
        let How {
            timeout_seconds,
            may_fail,
            way,
        } = how;
        let left = self.deadline.saturating_duration_since(Instant::now());
        let (timeout, clock) = match timeout_seconds {
            Some(seconds) if Duration::from_secs(seconds) < left => {
                (Duration::from_secs(seconds), Clock::Step(seconds))
            }
            _ => (
                left,
                Clock::Job(self.work.order.task.max_duration_seconds()),
            ),
        };
        self.limit = match clock {
            Clock::Step(seconds) | Clock::Job(seconds) => seconds,
        };
        plan.timeout = Some(timeout);
        plan.grace = self.inner.settings.grace;
        self.step_begins(index);
        let wanted = self.wanted.take();
        let is_called = matches!(way, Way::Called { .. });
        let outcome = match self.run_by(&plan, way) {
            Ok(outcome) => outcome,
            // Nothing else refuses its output.
            Err(ExecutorError::Output(_)) if is_called => {
                self.step_ends(index, StepStatus::Cancelled, None);
                return None;
            }
            Err(error) => {
                self.step_ends(index, StepStatus::Failure, None);
                return Some(broke(FailReason::SetupFailed, sentence(&error)));
            }
        };
        let (mut status, exit_code) = step_status(outcome.end);
        self.steps[index].exit_code = exit_code;
        let mut verdict = after_step(&self.steps[index].name, &outcome, Some(clock), may_fail);
        if let Some(wanted) = wanted
            && let Err(instead) = self.keep_files(index, &wanted, (&verdict, may_fail))
        {
            (status, verdict) = instead;
        }
        self.step_ends(index, status, Some(&outcome));
        verdict
    }

    fn run_by(&mut self, plan: &StepPlan, way: Way<'_>) -> Result<StepOutcome, ExecutorError> {
        let control = &self.own.control;
        match way {
            Way::Serves(served) => {
                let running = self;
                run_step(plan, control, &mut Serves { running, served })
            }
            Way::Called {
                captured,
                coordinator,
            } => {
                let mut output = Called {
                    output: &mut self.output,
                    captured,
                    coordinator,
                };
                run_step(plan, control, &mut output)
            }
            Way::Plain => match &mut self.said {
                Some(said) => {
                    let output = &mut self.output;
                    let mut output = Heeds { output, said };
                    let outcome = run_step(plan, control, &mut output);
                    output.end();
                    outcome
                }
                None => run_step(plan, control, &mut self.output),
            },
        }
    }

    fn step_begins(&mut self, index: usize) {
        let offset = self.work.log_base + self.output.mark(Mark::StepStart(number(index)));
        let span = self.ids.step(self.work.attempt.number, number(index));
        self.output.mark(Mark::StepSpan(span.span_id));
        self.began = Instant::now();
        let step = &mut self.steps[index];
        step.status = StepStatus::Running;
        step.started_at = Some(Timestamp::now());
        step.log_start = Some(offset);
        self.recorder.step_begins(number(index), step);
        self.inner.signals.emit(StepStarted {
            job_id: &self.work.attempt.job.to_string(),
            step: &step.name,
        });
        self.tell(index);
    }

    fn step_ends(&mut self, index: usize, status: StepStatus, outcome: Option<&StepOutcome>) {
        let offset = self.work.log_base + self.output.mark(Mark::StepEnd(number(index)));
        let step = &mut self.steps[index];
        step.status = status;
        step.finished_at = Some(Timestamp::now());
        step.log_end = Some(offset);
        step.cpu_seconds = outcome.map(|it| it.cpu.as_secs_f64());
        step.max_rss_bytes = outcome.map(|it| it.max_rss_bytes);
        let is_called = index >= self.declared;
        let wall = outcome.map(|it| it.wall);
        self.recorder
            .step_ends((number(index), step), wall, is_called);
        let wall = outcome.map_or_else(|| self.began.elapsed(), |it| it.wall);
        self.inner.signals.emit(StepCompleted {
            job_id: &self.work.attempt.job.to_string(),
            step: &step.name,
            exit_code: step.exit_code,
            duration_seconds: wall,
            pipeline: self.work.order.task.name(),
            cpu_seconds: step.cpu_seconds,
        });
        // The last step's end travels with the job's own report.
        if is_called || index + 1 < self.declared {
            self.tell(index);
        }
    }

    fn tell(&self, index: usize) {
        let told = self
            .inner
            .dispatch
            .step(self.work.attempt, index, &self.steps[index]);
        if told == Err(ReportError::Fenced) {
            self.own.control.cancel(Stop::Lost);
        }
        // A store that is away now hears of it in the job's report.
    }

    fn end(mut self, verdict: Verdict) -> Outcome {
        for step in &mut self.steps {
            match step.status {
                StepStatus::Pending => step.status = StepStatus::Skipped,
                StepStatus::Running => step.status = StepStatus::Cancelled,
                _ => {}
            }
        }
        let job = self.work.attempt.job.to_string();
        let began = self.recorder.now();
        let summary = self.output.close().or_else(|lost_bytes| {
            // It couldn't be closed: what is in it can be read all the same.
            let reader = self.inner.logs.reader(&job).map_err(drop)?;
            let summary = reader.summary();
            Ok::<Summary, ()>(Summary {
                complete: false,
                missing_bytes: summary.missing_bytes + lost_bytes,
                ..summary
            })
        });
        let summary = summary.ok().map(|it| Summary {
            bytes: self.work.log_base + it.bytes,
            ..it
        });
        self.recorder.uploaded(began);
        let timed_out = matches!(
            verdict,
            Verdict::Ended {
                cause: danube_model::Cause::TimedOut,
                ..
            }
        );
        Outcome {
            verdict,
            timeout: timed_out.then_some(self.limit),
            steps: self.steps,
            summary,
        }
    }
}

/// The names of the steps, what fetches the source included.
fn step_names(work: &Work) -> Vec<String> {
    match &work.order.task {
        Task::Pipeline(it) => pipeline::step_names(it),
        Task::Playbook(_) => playbook::STEPS.map(str::to_owned).to_vec(),
    }
}

/// Whether something is fetched as the worker before the place belongs to the job.
fn has_source(task: &Task) -> bool {
    match task {
        Task::Pipeline(it) => it.repository.is_some(),
        Task::Playbook(_) => true,
    }
}

fn skipped(work: &Work) -> Vec<Step> {
    let names = step_names(work);
    names
        .iter()
        .map(|name| Step {
            status: StepStatus::Skipped,
            ..Step::pending(name)
        })
        .collect()
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("a pipeline has at most STEPS_MAX steps")
}

/// The error and what caused it, in one line.
fn sentence(error: &ExecutorError) -> String {
    match std::error::Error::source(error) {
        Some(source) if !error.to_string().contains(&source.to_string()) => {
            format!("{error}: {source}")
        }
        _ => error.to_string(),
    }
}
