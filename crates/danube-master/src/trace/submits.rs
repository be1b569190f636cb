//! Requests that made a job, until its first attempt is written: one line for both, so
//! that the path of a submit touches no file, and a job costs one append.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use danube_model::JobId;
use danube_signals::{Stretch, SubmitTrace};
use danube_telemetry::trace::proto::Span;
use danube_telemetry::{TraceContext, context};

/// Jobs that wait whose request is remembered to the microsecond: some 16 MiB. That of
/// others is made from the store when it is read, to the millisecond.
const REMEMBERED_MAX: usize = 65_536;

/// A request, without its job.
struct Submit {
    name: String,
    context: TraceContext,
    parent: Option<[u8; 8]>,
    time: Stretch,
    auth: Stretch,
    load: Stretch,
    create: Stretch,
    trigger: Stretch,
    enqueue: Option<Stretch>,
    is_playbook: bool,
}

/// Jobs whose way into Redis is known before their request: it has a moment's start.
const EARLY_MAX: usize = 1_024;

/// What is remembered.
#[derive(Default)]
pub(super) struct Submits(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    submits: HashMap<JobId, Submit>,
    /// Ways into Redis of jobs whose request isn't known yet.
    early: HashMap<JobId, Stretch>,
}

impl Submits {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request made this job. Its way into Redis, if that is known by now.
    pub(super) fn remember(&self, job: JobId, trace: &SubmitTrace<'_>) -> Option<Span> {
        let mut all = self.lock();
        let enqueue = all.early.remove(&job);
        if all.submits.len() >= REMEMBERED_MAX {
            return None;
        }
        let submit = Submit {
            name: trace.name.to_owned(),
            context: trace.context,
            parent: trace.parent,
            time: trace.time,
            auth: trace.auth,
            load: trace.load,
            create: trace.create,
            trigger: trace.trigger,
            enqueue,
            is_playbook: trace.is_playbook,
        };
        let span = submit.trace(&job.to_string()).enqueue_span();
        all.submits.insert(job, submit);
        span
    }

    /// The job was put into Redis: the span of that, and whether its caller wants it
    /// exported. None while its request isn't known, or no more.
    pub(super) fn enqueued(&self, job: JobId, time: Stretch) -> Option<(Span, bool)> {
        let mut all = self.lock();
        let Some(submit) = all.submits.get_mut(&job) else {
            if all.early.len() >= EARLY_MAX {
                all.early.clear();
            }
            all.early.insert(job, time);
            return None;
        };
        submit.enqueue = Some(time);
        let span = submit.trace(&job.to_string()).enqueue_span()?;
        Some((span, submit.context.flags & context::SAMPLED != 0))
    }

    /// The spans of the request that made the job, if it is still remembered.
    pub(super) fn spans(&self, job: JobId) -> Vec<Span> {
        self.lock()
            .submits
            .get(&job)
            .map_or_else(Vec::new, |it| it.spans(job))
    }

    /// The same, and it is forgotten.
    pub(super) fn take(&self, job: JobId) -> Vec<Span> {
        let taken = self.lock().submits.remove(&job);
        taken.map_or_else(Vec::new, |it| it.spans(job))
    }
}

impl Submit {
    fn spans(&self, job: JobId) -> Vec<Span> {
        self.trace(&job.to_string()).spans()
    }

    fn trace<'a>(&'a self, job_id: &'a str) -> SubmitTrace<'a> {
        SubmitTrace {
            name: &self.name,
            job_id,
            context: self.context,
            parent: self.parent,
            time: self.time,
            auth: self.auth,
            load: self.load,
            create: self.create,
            trigger: self.trigger,
            enqueue: self.enqueue,
            is_playbook: self.is_playbook,
        }
    }
}
