//! From what a playbook did to the plays and tasks of its trace.

use danube_model::playbook::{HostStatus, RunEvent, RunRecord};
use danube_signals::{HOST_EVENTS_MAX, PlayTrace, ResultTrace, Stretch, TASK_SPANS_MAX, TaskTrace};

use crate::trace::nanos;

/// Puts the plays together, event by event.
#[derive(Debug, Default)]
pub struct Plays {
    plays: Vec<PlayTrace>,
    /// Where each task is that has a span: which play, and which of its tasks.
    tasks: Vec<(usize, usize)>,
}

impl Plays {
    /// Those of all these events.
    #[must_use]
    pub fn of(records: &[RunRecord]) -> Vec<PlayTrace> {
        let mut plays = Self::default();
        for record in records {
            plays.add(record);
        }
        plays.end()
    }

    /// Takes in what happened next.
    pub fn add(&mut self, record: &RunRecord) {
        let at = nanos(record.at);
        let time = Stretch {
            began: at,
            ended: at,
        };
        if let Some(play) = self.plays.last_mut() {
            // What comes between two tasks belongs to the play.
            play.time.ended = play.time.ended.max(at);
        }
        match &record.event {
            RunEvent::PlayStarted { play } => self.plays.push(PlayTrace {
                name: play.clone(),
                time,
                tasks: Vec::new(),
                tasks_left_out: 0,
            }),
            RunEvent::TaskStarted { task, path, .. } => {
                let index = self.plays.len().saturating_sub(1);
                let Some(play) = self.plays.last_mut() else {
                    return;
                };
                if self.tasks.len() == TASK_SPANS_MAX {
                    play.tasks_left_out += 1;
                    return;
                }
                self.tasks.push((index, play.tasks.len()));
                play.tasks.push(TaskTrace {
                    name: task.clone(),
                    path: path.clone(),
                    time,
                    hosts: 0,
                    hosts_failed: 0,
                    results: Vec::new(),
                });
            }
            RunEvent::HostResult {
                task, host, status, ..
            } => self.result(at, *task, (host, *status)),
            RunEvent::Summary { .. } => {}
        }
    }

    fn result(&mut self, at: u64, task: u64, (host, status): (&str, HostStatus)) {
        let place = usize::try_from(task).ok().and_then(|it| self.tasks.get(it));
        let Some((play, task)) = place.copied() else {
            return;
        };
        let task = &mut self.plays[play].tasks[task];
        task.time.ended = task.time.ended.max(at);
        task.hosts += 1;
        if matches!(status, HostStatus::Failed | HostStatus::Unreachable) {
            task.hosts_failed += 1;
        }
        if task.results.len() < HOST_EVENTS_MAX {
            task.results.push(ResultTrace {
                at,
                host: host.to_owned(),
                status: status.as_str(),
            });
        }
    }

    /// All of them.
    #[must_use]
    pub fn end(self) -> Vec<PlayTrace> {
        self.plays
    }
}

#[cfg(test)]
mod tests {
    use danube_model::Timestamp;

    use super::*;

    fn records(events: Vec<RunEvent>) -> Vec<RunRecord> {
        let records = (0..).zip(events);
        let record = |(n, event): (u64, RunEvent)| RunRecord {
            n,
            at: Timestamp::from_millis(i64::try_from(n).expect("few")),
            event,
        };
        records.map(record).collect()
    }

    fn task(name: &str) -> RunEvent {
        RunEvent::TaskStarted {
            task: name.to_owned(),
            path: None,
            handler: false,
        }
    }

    fn play(name: &str) -> RunEvent {
        RunEvent::PlayStarted {
            play: name.to_owned(),
        }
    }

    fn result(task: usize, host: &str, status: HostStatus) -> RunEvent {
        RunEvent::HostResult {
            task: u64::try_from(task).expect("it is small"),
            host: host.to_owned(),
            status,
            name: None,
            message: None,
        }
    }

    #[test]
    fn a_task_lasts_to_its_last_result_whatever_begins_meanwhile() {
        let plays = Plays::of(&records(vec![
            play("web"),
            task("install"),
            result(0, "a", HostStatus::Ok),
            task("start"),
            result(0, "b", HostStatus::Failed),
            play("db"),
        ]));
        assert_eq!(plays.len(), 2);
        let (web, install) = (&plays[0], &plays[0].tasks[0]);
        let millis = |time: Stretch| (time.began / 1_000_000, time.ended / 1_000_000);
        assert_eq!((millis(web.time), millis(install.time)), ((0, 5), (1, 4)));
        assert_eq!((install.hosts, install.hosts_failed), (2, 1));
        assert_eq!(install.results[1].status, "failed");
    }

    #[test]
    fn tasks_beyond_the_limit_are_counted_with_their_play() {
        let mut events = vec![play("long")];
        events.extend((0..=TASK_SPANS_MAX).map(|it| task(&it.to_string())));
        events.push(result(TASK_SPANS_MAX, "a", HostStatus::Ok));
        let plays = Plays::of(&records(events));
        assert_eq!(plays[0].tasks.len(), TASK_SPANS_MAX);
        assert_eq!(plays[0].tasks_left_out, 1);
        let last = plays[0].tasks.last().expect("there are some");
        assert_eq!(last.hosts, 0, "the result belongs to another task");
    }
}
