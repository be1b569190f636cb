//! How many playbook jobs wait and run: `ansible_api_queue_length` and
//! `ansible_api_active_jobs`. Both follow the store's commits and are counted anew from it,
//! so that they can't drift.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use danube_model::{Kind, Queues, State};
use danube_signals::Signals;
use danube_store::{Live, Moved};

/// The two gauges.
pub(crate) struct PlaybookGauges {
    signals: Signals,
    shown: Mutex<Shown>,
}

struct Shown {
    /// Jobs that wait, by queue; an entry stays when its queue is empty, as its series does.
    waiting: HashMap<String, i64>,
    active: i64,
}

impl PlaybookGauges {
    pub(crate) fn new(signals: Signals, queues: &Queues) -> Self {
        let names = queues.all().iter();
        let shown = Shown {
            // There from the start, so that an alert sees its first job.
            waiting: names.map(|it| (it.name.clone(), 0)).collect(),
            active: 0,
        };
        let gauges = Self {
            signals,
            shown: Mutex::new(shown),
        };
        gauges.show(&gauges.lock(), None);
        gauges
    }

    /// A job came to be, or moved.
    pub(crate) fn moved(&self, moved: &Moved) {
        if moved.kind != Kind::Playbook {
            return;
        }
        let mut shown = self.lock();
        if let Some(from) = moved.from {
            shown.add(&moved.queue, from, -1);
        }
        shown.add(&moved.queue, moved.to, 1);
        self.show(&shown, Some(&moved.queue));
    }

    /// Everything was counted anew.
    pub(crate) fn counted(&self, live: &Live) {
        let mut shown = self.lock();
        shown.active = 0;
        shown.waiting.values_mut().for_each(|it| *it = 0);
        for it in live.pending.iter().filter(|it| it.kind == Kind::Playbook) {
            let jobs = i64::try_from(it.jobs).unwrap_or(i64::MAX);
            *shown.waiting.entry(it.queue.clone()).or_default() += jobs;
        }
        let leased = live.leased.iter();
        let leased = leased.filter(|it| it.kind == Kind::Playbook).count();
        shown.active = i64::try_from(leased).unwrap_or(i64::MAX);
        self.show(&shown, None);
    }

    /// Sets the gauges, of one queue or of all.
    fn show(&self, shown: &Shown, queue: Option<&str>) {
        self.signals.playbook_active_jobs.set(shown.active);
        for (name, jobs) in &shown.waiting {
            if queue.is_none_or(|it| it == name) {
                let gauge = self.signals.playbook_queue_length.with([name.as_str()]);
                gauge.set(*jobs);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        // Nothing panics while it holds this.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn add(&mut self, queue: &str, state: State, jobs: i64) {
        if state.is_leased() {
            self.active += jobs;
        } else if state == State::Pending {
            *self.waiting.entry(queue.to_owned()).or_default() += jobs;
        }
    }
}

#[cfg(test)]
mod tests {
    use danube_model::JobId;
    use danube_signals::{BuildInfo, Limits};
    use danube_store::Waiters;

    use super::*;

    fn moved(from: Option<State>, to: State, kind: Kind) -> Moved {
        Moved {
            job: JobId::new(),
            pipeline: "playbook".to_owned(),
            kind,
            queue: "night".to_owned(),
            from,
            to,
        }
    }

    #[test]
    fn what_waits_and_runs_is_shown_by_queue_and_pipelines_are_not() {
        let signals = Signals::new(BuildInfo::default(), Limits::default());
        let gauges = PlaybookGauges::new(signals.clone(), &Queues::default());
        let shows = |waiting: f64, active: f64| {
            let value = |name: &str| signals.registry().value(name);
            let queue = "ansible_api_queue_length{queue_name=\"night\"}";
            assert_eq!(value(queue), Some(waiting));
            assert_eq!(value("ansible_api_active_jobs"), Some(active));
        };
        gauges.moved(&moved(None, State::Pending, Kind::Playbook));
        gauges.moved(&moved(None, State::Pending, Kind::Playbook));
        gauges.moved(&moved(None, State::Pending, Kind::Pipeline));
        shows(2.0, 0.0);
        gauges.moved(&moved(
            Some(State::Pending),
            State::Scheduling,
            Kind::Playbook,
        ));
        shows(1.0, 1.0);
        gauges.moved(&moved(
            Some(State::Scheduling),
            State::Running,
            Kind::Playbook,
        ));
        gauges.moved(&moved(Some(State::Running), State::Success, Kind::Playbook));
        shows(1.0, 0.0);
        let waiters = |kind, jobs| Waiters {
            pipeline: "playbook".to_owned(),
            kind,
            queue: "night".to_owned(),
            jobs,
        };
        gauges.counted(&Live {
            pending: vec![waiters(Kind::Playbook, 7), waiters(Kind::Pipeline, 3)],
            leased: vec![moved(None, State::Running, Kind::Playbook)],
        });
        shows(7.0, 1.0);
        gauges.counted(&Live::default());
        shows(0.0, 0.0);
    }
}
