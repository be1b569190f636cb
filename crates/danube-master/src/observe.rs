//! Gauges that are looked up when somebody scrapes: who is logged in, what the
//! worker does.

use std::sync::Arc;

use danube_model::Timestamp;
use danube_signals::WorkerState;
use danube_worker::Load;

use crate::app::{App, Shared};

/// Sets them at each scrape, for as long as the app is there.
pub(crate) fn at_each_scrape(app: &Shared) {
    // The registry lives as long as the app, and must not keep it.
    let weak = Arc::downgrade(app);
    app.signals.registry().on_collect(move || {
        if let Some(app) = weak.upgrade() {
            look(&app);
        }
    });
}

fn look(app: &App) {
    let sessions = app.sessions.count(Timestamp::now());
    app.signals.auth_active_sessions.set_u64(sessions as u64);
    let state = worker_state(app.worker.load());
    let is_heard = state.is_some_and(|it| it != WorkerState::Offline);
    let elsewhere = app.remote.connected();
    let count = i64::try_from(elsewhere.len()).unwrap_or(i64::MAX);
    app.signals.workers_active.set(i64::from(is_heard) + count);
    let runs_playbooks = is_heard && app.worker.runs_playbooks();
    let active_workers = &app.signals.playbook_active_workers;
    active_workers.set(i64::from(runs_playbooks) + count);
    for one in [
        WorkerState::Available,
        WorkerState::Busy,
        WorkerState::Offline,
    ] {
        let like_it = elsewhere.values().filter(|jobs| match one {
            WorkerState::Available => **jobs == 0,
            WorkerState::Busy => **jobs > 0,
            WorkerState::Offline => false,
        });
        let like_it = i64::try_from(like_it.count()).unwrap_or(i64::MAX);
        let count = i64::from(state == Some(one)) + like_it;
        app.signals.cicd_worker_count.at(one).set(count);
    }
}

/// None for a master that runs no jobs itself.
fn worker_state(load: Load) -> Option<WorkerState> {
    match load {
        Load { jobs: 1.., .. } => Some(WorkerState::Busy),
        Load { jobs_max: 0, .. } => None,
        Load {
            is_closed: true, ..
        } => Some(WorkerState::Offline),
        _ => Some(WorkerState::Available),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_busy_with_one_job_and_offline_once_it_is_closed_and_idle() {
        let load = |jobs, jobs_max, is_closed| {
            worker_state(Load {
                jobs,
                jobs_max,
                is_closed,
            })
        };
        assert_eq!(load(0, 4, false), Some(WorkerState::Available));
        assert_eq!(load(1, 4, false), Some(WorkerState::Busy));
        assert_eq!(load(1, 4, true), Some(WorkerState::Busy));
        assert_eq!(load(0, 4, true), Some(WorkerState::Offline));
        assert_eq!(load(0, 0, false), None);
    }
}
