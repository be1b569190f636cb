//! Takes down when an attempt did what, for its spans.

use std::time::Duration;

use danube_model::{Attempt, JobId, Step, Timestamp, Trace};
use danube_redact::{Secrets, Texts};
use danube_signals::{
    AttemptTrace, JobSpans, PlayTrace, PlaybookTrace, RunOutcome, Source, StepTrace, Stretch,
};
use danube_telemetry::TraceContext;
use danube_telemetry::trace::Clock;
use danube_telemetry::trace::proto::{ResourceSpans, ScopeSpans, Span};
use danube_telemetry::trace::text::each_text;

use crate::dispatch::Work;

/// The spans of an attempt that has ended, without secrets.
#[derive(Debug, Clone)]
pub struct Traced {
    /// Whose they are.
    pub attempt: Attempt,
    /// Its trace.
    pub trace_id: [u8; 16],
    /// The job's own first.
    pub spans: Vec<Span>,
    /// It ended badly.
    pub has_failed: bool,
    /// From its lease to its report.
    pub took: Duration,
}

impl Traced {
    /// The spans of this attempt, with what the secrets know taken out of every text.
    #[must_use]
    pub fn new(attempt: Attempt, trace: &AttemptTrace, secrets: &Secrets) -> Self {
        let spans = vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: trace.spans(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }];
        let spans = without_secrets(spans, secrets).remove(0);
        let took = trace.time.ended.saturating_sub(trace.time.began);
        Self {
            attempt,
            trace_id: trace.context.trace_id,
            spans: spans
                .scope_spans
                .into_iter()
                .flat_map(|it| it.spans)
                .collect(),
            has_failed: trace.end.error_type.is_some(),
            took: Duration::from_nanos(took),
        }
    }
}

/// The same spans with what the secrets know taken out of every text.
#[must_use]
pub fn without_secrets(mut all: Vec<ResourceSpans>, secrets: &Secrets) -> Vec<ResourceSpans> {
    let mut texts = Texts::new(secrets);
    for it in &mut all {
        each_text(it, &mut |_, text| {
            if let std::borrow::Cow::Owned(clean) = texts.redact(text) {
                *text = clean;
            }
        });
    }
    all
}

/// The context of a job from what is stored with it, and what its first attempt follows.
#[must_use]
pub fn context_of(traceparent: &str) -> TraceContext {
    TraceContext::parse(traceparent).unwrap_or_else(TraceContext::random)
}

/// What an attempt follows: the one before, or the job that this one runs again.
#[must_use]
pub fn follows(trace: &Trace, ids: &JobSpans<'_>, number: u32) -> Option<TraceContext> {
    if number > 1 {
        return Some(ids.attempt(number - 1));
    }
    let before = trace.follows.as_ref()?;
    let before_ids = JobSpans {
        job_id: &before.job,
        context: TraceContext::parse(&before.traceparent)?,
    };
    Some(before_ids.attempt(before.attempt))
}

/// Nanoseconds since 1970.
#[must_use]
pub fn nanos(time: Timestamp) -> u64 {
    const NANOS_A_MILLI: u64 = 1_000_000;
    u64::try_from(time.as_millis())
        .unwrap_or(0)
        .saturating_mul(NANOS_A_MILLI)
}

/// Takes down one attempt.
pub(crate) struct Recorder {
    clock: Clock,
    created: Option<Stretch>,
    removing: Option<u64>,
    removed: Option<Stretch>,
    steps: Vec<StepTrace>,
    plays: Vec<PlayTrace>,
    uploaded: Option<Stretch>,
}

impl Recorder {
    /// Begins now.
    pub(crate) fn start() -> Self {
        Self {
            clock: Clock::start(),
            created: None,
            removing: None,
            removed: None,
            steps: Vec::new(),
            plays: Vec::new(),
            uploaded: None,
        }
    }

    /// What the playbook did.
    pub(crate) fn played(&mut self, plays: Vec<PlayTrace>) {
        self.plays = plays;
    }

    /// All of the log is stored.
    pub(crate) fn uploaded(&mut self, since: u64) {
        self.uploaded = Some(self.since(since));
    }

    /// The workspace is there.
    pub(crate) fn created(&mut self, since: u64) {
        self.created = Some(self.since(since));
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// The workspace is being removed from now on.
    pub(crate) fn removes(&mut self) {
        self.removing = Some(self.now());
    }

    /// It is gone.
    pub(crate) fn removed(&mut self) {
        self.removed = self.removing.take().map(|it| self.since(it));
    }

    /// A step begins.
    pub(crate) fn step_begins(&mut self, index: u32, step: &Step) {
        let now = self.now();
        self.steps.push(StepTrace {
            index,
            name: step.name.clone(),
            time: Stretch {
                began: now,
                ended: now,
            },
            process: None,
            call: None,
            is_unfinished: false,
            status: step.status.as_str(),
            exit_code: None,
            log: (step.log_start, None),
        });
    }

    /// A step has ended; its process took so long, if there was one. `is_called`: the
    /// coordinator asked for it.
    pub(crate) fn step_ends(
        &mut self,
        (index, step): (u32, &Step),
        process: Option<Duration>,
        is_called: bool,
    ) {
        let now = self.now();
        let Some(it) = self.steps.iter_mut().rev().find(|it| it.index == index) else {
            return;
        };
        it.time.ended = now;
        it.call = is_called.then_some(it.time);
        it.process = process.map(|wall| Stretch {
            // What comes behind a process (its last output, its leftovers) is little;
            // what comes before, the sandbox, is what is worth to be seen.
            began: now
                .saturating_sub(u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX))
                .max(it.time.began),
            ended: now,
        });
        it.status = step.status.as_str();
        it.exit_code = step.exit_code;
        it.log = (step.log_start, step.log_end);
    }

    /// All of it, when it is over.
    pub(crate) fn end(self, work: &Work, about: About<'_>) -> AttemptTrace {
        let job = work.attempt.job;
        let context = context_of(&work.traceparent);
        let number = work.attempt.number;
        let ids = JobSpans {
            job_id: &job.to_string(),
            context,
        };
        AttemptTrace {
            job_id: job.to_string(),
            short_id: short(job),
            context,
            parent: work.order.trace.request.as_ref().map(|it| it.span_id),
            number,
            follows: follows(&work.order.trace, &ids, number),
            pipeline: work.order.task.name().to_owned(),
            source_type: work.order.trace.source_type.clone(),
            worker: about.worker.to_owned(),
            source: Source {
                repository: work.order.task.repository(),
                git_ref: work.order.git_ref.clone(),
                revision: about.commit,
            },
            queued: nanos(work.queued_at),
            time: self.since(self.clock.began()),
            is_unfinished: false,
            created: self.created,
            removed: self.removed,
            steps: self.steps,
            end: about.end,
            reason: about.reason,
            playbook: work.order.task.playbook().map(|_| PlaybookTrace {
                plays: self.plays,
                uploaded: self.uploaded,
            }),
        }
    }

    fn since(&self, began: u64) -> Stretch {
        Stretch {
            began,
            ended: self.now(),
        }
    }
}

/// What an attempt's end knows beside its times.
pub(crate) struct About<'a> {
    pub(crate) worker: &'a str,
    pub(crate) commit: Option<String>,
    pub(crate) end: RunOutcome,
    pub(crate) reason: Option<String>,
}

fn short(job: JobId) -> String {
    job.short().to_string()
}
