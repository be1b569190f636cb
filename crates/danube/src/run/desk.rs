//! Takes the worker's reports, in place of a master.

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use danube_api::{HostView, ProgressView};
use danube_model::credential::Credential;
use danube_model::playbook::{Progress, RunRecord};
use danube_model::{Attempt, Cause, Ended, State, Step};
use danube_worker::{Dispatch, ReportError};
use tokio::sync::Notify;

use crate::commands::hosts;
use crate::exit::of_job;
use crate::terminal::clean;

/// What it was told of the one job.
#[derive(Default)]
pub(super) struct Desk {
    ended: Mutex<Option<Ended>>,
    credentials: Vec<Credential>,
    /// What a playbook has done.
    progress: Mutex<Option<Progress>>,
    /// Rung when the job has begun, when a playbook does something, and when its thread is done.
    pub(super) changed: Notify,
}

impl Desk {
    /// One that gives these credentials.
    pub(super) fn with(credentials: Vec<Credential>) -> Self {
        Self {
            credentials,
            ..Self::default()
        }
    }

    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What a playbook did on each host.
    pub(super) fn hosts(&self) -> Option<Vec<HostView>> {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.as_ref().map(HostView::all)
    }

    /// The same of one that was stopped before Ansible summed it up; none otherwise.
    pub(super) fn hosts_so_far(&self) -> Option<Vec<HostView>> {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let cut_off = progress.as_ref().filter(|it| !it.is_over);
        cut_off.map(HostView::all).filter(|it| !it.is_empty())
    }

    /// Where a playbook is, in a line; none of another job, or before it begins.
    pub(super) fn doing(&self) -> Option<String> {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let view = ProgressView::from(progress.as_ref()?);
        let parts = [
            view.current_play.unwrap_or_default(),
            view.current_task.unwrap_or_default(),
            hosts::totals(&view.hosts),
        ];
        let some = parts.iter().filter(|it| !it.is_empty());
        Some(some.map(|it| clean(it)).collect::<Vec<_>>().join(" · "))
    }

    pub(super) fn state(&self) -> State {
        match self.ended().map(|it| it.cause) {
            Some(Cause::Succeeded) => State::Success,
            Some(Cause::TimedOut) => State::Timeout,
            Some(Cause::Stopped) | None => State::Cancelled,
            Some(_) => State::Failure,
        }
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        of_job(
            self.state().as_str(),
            self.ended().and_then(|it| it.exit_code),
            true,
        )
    }
}

impl Dispatch for Desk {
    fn started(&self, _: Attempt, _: &[Step]) -> Result<(), ReportError> {
        self.changed.notify_one();
        Ok(())
    }

    fn step(&self, _: Attempt, _: usize, _: &Step) -> Result<(), ReportError> {
        Ok(())
    }

    fn played(&self, _: Attempt, _: Vec<RunRecord>, progress: &Progress) {
        let mut known = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(progress.clone());
        self.changed.notify_one();
    }

    fn credentials(&self, _: Attempt, names: Vec<String>) -> Result<Vec<Credential>, ReportError> {
        let all = self.credentials.iter();
        Ok(all.filter(|it| names.contains(&it.name)).cloned().collect())
    }

    fn finish(&self, _: Attempt, ended: &Ended) -> Result<(), ReportError> {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended.clone());
        Ok(())
    }

    fn hand_back(&self, _: Attempt, _: &str, _: bool) -> Result<(), ReportError> {
        Ok(())
    }

    fn freed(&self) {
        self.changed.notify_one();
    }
}
