//! Makes a job's spans from what is stored of it: for those that nobody wrote, because
//! the worker or the whole server was gone. To the millisecond, as the store has it.

use danube_model::{FailReason, State, Step, StepStatus, Transition};
use danube_signals::{
    AttemptTrace, JobSpans, PlaybookTrace, RunOutcome, Source, StepTrace, Stretch, SubmitTrace,
};
use danube_store::JobTrace;
use danube_telemetry::TraceContext;
use danube_telemetry::trace::proto::Span;
use danube_worker::Plays;
use danube_worker::trace::{context_of, follows, nanos};

/// Why an attempt ended whose worker was lost.
const WORKER_LOST: &str = "worker_lost";

/// What the store knows of an attempt, `now` being the end of what goes on. None before
/// it was begun.
pub(super) fn attempt(of: &JobTrace, number: u32, now: u64) -> Option<AttemptTrace> {
    let moves = Moves::of(&of.moves, number)?;
    let job = of.job.id.to_string();
    let context = context_of(&of.job.traceparent);
    let ids = JobSpans {
        job_id: &job,
        context,
    };
    let ended = moves.end.map_or(now, |it| nanos(it.at));
    let time = Stretch {
        began: nanos(moves.claimed.at),
        ended: ended.max(nanos(moves.claimed.at)),
    };
    let steps = of.attempts.get(usize::try_from(number).ok()? - 1)?;
    let steps: Vec<StepTrace> = (0..)
        .zip(steps)
        .filter_map(|(index, it)| step(index, it, time.ended, moves.end.is_none()))
        .collect();
    let events = usize::try_from(number)
        .ok()
        .and_then(|it| of.events.get(it - 1));
    let events = events.map_or(&[][..], Vec::as_slice);
    let is_last = number == of.job.attempt;
    let end = outcome(moves.end);
    let last = steps.iter().map(|it| it.time.ended).max();
    let is_orderly = moves.end.is_some() && end.error_type != Some(WORKER_LOST);
    let began = moves.started.map(|it| nanos(it.at));
    Some(AttemptTrace {
        short_id: of.job.id.short().to_string(),
        context,
        parent: of.trace.request.as_ref().map(|it| it.span_id),
        number,
        follows: follows(&of.trace, &ids, number),
        pipeline: of.job.pipeline.clone(),
        source_type: of.trace.source_type.clone(),
        worker: moves.claimed.by.clone(),
        source: Source {
            repository: of.repository.clone(),
            git_ref: of.job.trigger_ref.clone(),
            revision: None,
        },
        queued: moves.queued.map_or(time.began, |it| nanos(it.at)),
        time,
        is_unfinished: moves.end.is_none(),
        created: began.map(|ended| Stretch {
            began: time.began,
            ended,
        }),
        removed: last.filter(|_| is_orderly).map(|began| Stretch {
            began,
            ended: time.ended,
        }),
        steps,
        end,
        playbook: of.job.playbook.as_ref().map(|_| PlaybookTrace {
            plays: Plays::of(events),
            uploaded: None,
        }),
        reason: of.job.reason.clone().filter(|_| is_last),
        job_id: job,
    })
}

/// The spans of the request that submitted the job, as far as they were known before it
/// was stored. None for a job that no request made.
pub(super) fn submit(of: &JobTrace, by_redis: bool) -> Vec<Span> {
    let Some(request) = &of.trace.request else {
        return Vec::new();
    };
    let stretch = |(began, ended)| Stretch { began, ended };
    let stored = nanos(of.job.created_at).max(request.store);
    let trace = SubmitTrace {
        name: &request.name,
        job_id: &of.job.id.to_string(),
        context: TraceContext {
            span_id: request.span_id,
            ..context_of(&of.job.traceparent)
        },
        parent: request.parent,
        time: stretch((request.began, stored)),
        auth: stretch(request.auth),
        load: stretch(request.load),
        create: stretch((request.store, stored)),
        trigger: stretch((stored, stored)),
        enqueue: by_redis.then(|| stretch((stored, stored))),
        is_playbook: of.job.playbook.is_some(),
    };
    trace.spans()
}

/// The moves of one attempt.
struct Moves<'a> {
    /// Into the queue.
    queued: Option<&'a Transition>,
    claimed: &'a Transition,
    started: Option<&'a Transition>,
    end: Option<&'a Transition>,
}

impl<'a> Moves<'a> {
    fn of(all: &'a [Transition], number: u32) -> Option<Self> {
        let own = |it: &&Transition| it.attempt == number;
        let claimed = all
            .iter()
            .position(|it| own(&it) && it.to == State::Scheduling)?;
        let mut later = all[claimed + 1..].iter().filter(own);
        Some(Self {
            queued: claimed.checked_sub(1).map(|it| &all[it]),
            started: later.clone().find(|it| it.to == State::Running),
            end: later.find(|it| !it.to.is_leased()),
            claimed: &all[claimed],
        })
    }
}

fn outcome(end: Option<&Transition>) -> RunOutcome {
    let Some(end) = end else {
        return RunOutcome {
            status: State::Running.as_str(),
            result: "",
            error_type: None,
        };
    };
    let (result, error_type) = match end.cause.as_str() {
        "succeeded" => ("success", None),
        "failed" => ("failure", Some(failed(end.detail.as_deref()))),
        "timed_out" => ("timeout", Some("timeout")),
        "handed_back" => ("cancellation", Some("handed_back")),
        "lease_lost" => ("error", Some(WORKER_LOST)),
        _ => ("cancellation", None),
    };
    RunOutcome {
        status: end.to.as_str(),
        result,
        error_type,
    }
}

/// The word for why it failed, which the move's detail is.
fn failed(detail: Option<&str>) -> &'static str {
    let found = FailReason::ALL
        .into_iter()
        .find(|it| Some(it.as_str()) == detail);
    found.unwrap_or(FailReason::SetupFailed).as_str()
}

fn step(index: u32, it: &Step, end: u64, goes_on: bool) -> Option<StepTrace> {
    let began = nanos(it.started_at?);
    let ended = it.finished_at.map(nanos);
    let time = Stretch {
        began,
        ended: ended.unwrap_or(end).max(began),
    };
    let is_open = ended.is_none();
    let status = match it.status {
        // Whoever ran it is gone, and it with them.
        StepStatus::Running | StepStatus::Pending if is_open && !goes_on => StepStatus::Cancelled,
        other => other,
    };
    Some(StepTrace {
        index,
        name: it.name.clone(),
        time,
        process: Some(time),
        call: None,
        is_unfinished: is_open && goes_on,
        status: status.as_str(),
        exit_code: it.exit_code,
        log: (it.log_start, it.log_end),
    })
}
