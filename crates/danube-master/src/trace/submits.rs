//! Requests that made a job, until its first attempt is written: one line for both, so
//! that the path of a submit touches no file, and a job costs one append.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use danube_model::JobId;
use danube_signals::{Stretch, SubmitTrace};
use danube_telemetry::TraceContext;
use danube_telemetry::trace::proto::Span;

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
    is_playbook: bool,
}

/// What is remembered.
#[derive(Default)]
pub(super) struct Submits(Mutex<HashMap<JobId, Submit>>);

impl Submits {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Submit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request made this job.
    pub(super) fn remember(&self, job: JobId, trace: &SubmitTrace<'_>) {
        let mut all = self.lock();
        if all.len() >= REMEMBERED_MAX {
            return;
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
            is_playbook: trace.is_playbook,
        };
        all.insert(job, submit);
    }

    /// The spans of the request that made the job, if it is still remembered.
    pub(super) fn spans(&self, job: JobId) -> Vec<Span> {
        self.lock()
            .get(&job)
            .map_or_else(Vec::new, |it| it.spans(job))
    }

    /// The same, and it is forgotten.
    pub(super) fn take(&self, job: JobId) -> Vec<Span> {
        let taken = self.lock().remove(&job);
        taken.map_or_else(Vec::new, |it| it.spans(job))
    }
}

impl Submit {
    fn spans(&self, job: JobId) -> Vec<Span> {
        let trace = SubmitTrace {
            name: &self.name,
            job_id: &job.to_string(),
            context: self.context,
            parent: self.parent,
            time: self.time,
            auth: self.auth,
            load: self.load,
            create: self.create,
            trigger: self.trigger,
            is_playbook: self.is_playbook,
        };
        trace.spans()
    }
}
