//! Which alerts are about to fire, fire, and are over: decided from what their
//! conditions answered and a time, and from nothing else.

use std::collections::BTreeMap;

use danube_signals::Alert;
use danube_telemetry::query::Labels;

/// Alerts that are known at once, each with labels of its own. More of them say nothing
/// that these don't.
pub(crate) const KNOWN_MAX: usize = 1_000;

/// How long one that is over is remembered, in milliseconds: a quarter of an hour is
/// enough for Alertmanager to be told although it was away for a while.
const OVER_KEPT_MILLIS: i64 = 15 * 60 * 1_000;

/// Which alert, by its place in the list, with which labels.
pub(crate) type Key = (usize, Labels);

/// Everything that is known.
pub(crate) type Known = BTreeMap<Key, Instance>;

/// One alert that is or was on. Times are Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Instance {
    /// Since when its condition holds.
    pub(crate) since: i64,
    /// Where it stands.
    pub(crate) phase: Phase,
    /// The latest value.
    pub(crate) value: f64,
}

impl Instance {
    /// Nothing happened later than now. Where it did, the clock was set back: the wait
    /// begins anew, and Alertmanager, which refuses what ends before it begins, is told of
    /// no time that is yet to come.
    fn not_after(&mut self, now: i64) {
        self.since = self.since.min(now);
        self.phase = match self.phase {
            Phase::Pending => Phase::Pending,
            Phase::Firing(fired) => Phase::Firing(fired.min(now)),
            Phase::Over { fired, ended } => Phase::Over {
                fired: fired.min(now),
                ended: ended.min(now),
            },
        };
    }
}

/// Where an alert stands. One that is inactive isn't known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its condition holds, but not long enough yet.
    Pending,
    /// It fires since then.
    Firing(i64),
    /// It fired, and was over then.
    Over { fired: i64, ended: i64 },
}

/// What happened to an alert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    /// It begins to fire.
    Fired,
    /// It is over, after so many milliseconds.
    Resolved(i64),
}

/// What the conditions answered, one for each alert in order: the series for which it
/// holds, with their values. `None`: it couldn't be asked, and nothing changes.
pub(crate) type Answers = Vec<Option<Vec<(Labels, f64)>>>;

/// What is known next, and what changed.
pub(crate) fn decide(
    alerts: &[Alert],
    mut known: Known,
    answers: Answers,
    now: i64,
) -> (Known, Vec<(Key, Change)>) {
    let mut changes = Vec::new();
    for it in known.values_mut() {
        it.not_after(now);
    }
    for (at, (alert, answer)) in alerts.iter().zip(answers).enumerate() {
        let Some(answer) = answer else { continue };
        let holds: BTreeMap<Labels, f64> = answer.into_iter().collect();
        for ((_, labels), it) in known.iter_mut().filter(|((of, _), _)| *of == at) {
            if !holds.contains_key(labels) {
                let change = end(it, now);
                changes.extend(change.map(|it| ((at, labels.clone()), it)));
            }
        }
        for (labels, value) in holds {
            let key = (at, labels);
            if known.len() >= KNOWN_MAX && !known.contains_key(&key) {
                continue;
            }
            let it = known.entry(key.clone()).or_insert(Instance {
                since: now,
                phase: Phase::Pending,
                value,
            });
            let change = begin(it, alert, now, value);
            changes.extend(change.map(|it| (key, it)));
        }
    }
    known.retain(|_, it| match it.phase {
        Phase::Pending => it.since != GONE,
        Phase::Firing(_) => true,
        Phase::Over { ended, .. } => now - ended < OVER_KEPT_MILLIS,
    });
    (known, changes)
}

/// Since when one holds that was pending and holds no more.
const GONE: i64 = i64::MIN;

fn begin(it: &mut Instance, alert: &Alert, now: i64, value: f64) -> Option<Change> {
    if matches!(it.phase, Phase::Over { .. }) {
        *it = Instance {
            since: now,
            phase: Phase::Pending,
            value,
        };
    }
    it.value = value;
    let holds_for = i64::try_from(alert.holds_for.as_millis()).unwrap_or(i64::MAX);
    if it.phase == Phase::Pending && now - it.since >= holds_for {
        it.phase = Phase::Firing(now);
        return Some(Change::Fired);
    }
    None
}

fn end(it: &mut Instance, now: i64) -> Option<Change> {
    match it.phase {
        Phase::Pending => {
            it.since = GONE;
            None
        }
        Phase::Firing(fired) => {
            it.phase = Phase::Over { fired, ended: now };
            Some(Change::Resolved(now - fired))
        }
        Phase::Over { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use danube_signals::{Expected, alerts};

    use super::*;

    /// Alerts with a `for` of 0, 60 and 300 seconds.
    fn three() -> Vec<Alert> {
        let names = ["health_check_failing", "master_down", "job_failures"];
        let all = alerts(Expected::default());
        let found = names.map(|name| all.iter().find(|it| it.name == name).unwrap().clone());
        found.to_vec()
    }

    fn of(check: &str) -> Labels {
        vec![("check".to_owned(), check.to_owned())]
    }

    /// One alert, asked at these seconds, where its condition holds from `holds` on and
    /// to its end.
    fn run(alert: usize, holds: &[(i64, bool)]) -> Vec<(i64, Change)> {
        let alerts = three();
        let mut known = Known::new();
        let mut seen = Vec::new();
        for (second, holds) in holds {
            let mut answers: Answers = vec![Some(vec![]); 3];
            if *holds {
                answers[alert] = Some(vec![(of("disk"), 1.0)]);
            }
            let (next, changes) = decide(&alerts, known, answers, second * 1_000);
            known = next;
            seen.extend(changes.into_iter().map(|(_, change)| (*second, change)));
        }
        seen
    }

    #[test]
    fn an_alert_fires_once_its_condition_has_held_long_enough() {
        let seen = run(
            1,
            &[(0, true), (15, true), (45, true), (60, true), (75, true)],
        );
        assert_eq!(seen, [(60, Change::Fired)]);
        assert_eq!(run(0, &[(0, true), (15, true)]), [(0, Change::Fired)]);
    }

    #[test]
    fn a_condition_that_stops_before_leaves_nothing() {
        let seen = run(
            1,
            &[(0, true), (45, true), (50, false), (60, true), (119, true)],
        );
        assert_eq!(seen, []);
    }

    #[test]
    fn an_alert_that_is_over_is_told_once_and_can_fire_again() {
        let seen = run(
            0,
            &[(0, true), (15, false), (30, false), (45, true), (60, false)],
        );
        let expected = [
            (0, Change::Fired),
            (15, Change::Resolved(15_000)),
            (45, Change::Fired),
            (60, Change::Resolved(15_000)),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn each_set_of_labels_is_an_alert_of_its_own() {
        let alerts = three();
        let answers = |all: &[&str]| -> Answers {
            let holds = all.iter().map(|it| (of(it), 3.0)).collect();
            vec![Some(holds), Some(vec![]), Some(vec![])]
        };
        let (known, changes) = decide(&alerts, Known::new(), answers(&["disk", "dex"]), 0);
        assert_eq!(changes.len(), 2);
        let (known, changes) = decide(&alerts, known, answers(&["dex"]), 1_000);
        assert_eq!(changes, [((0, of("disk")), Change::Resolved(1_000))]);
        assert_eq!(known.len(), 2);
        assert_eq!(known[&(0, of("dex"))].phase, Phase::Firing(0));
    }

    #[test]
    fn a_condition_that_can_not_be_asked_changes_nothing() {
        let alerts = three();
        let holds = vec![Some(vec![(of("disk"), 1.0)]), None, None];
        let (known, _) = decide(&alerts, Known::new(), holds, 0);
        let (next, changes) = decide(&alerts, known.clone(), vec![None, None, None], 60_000);
        assert_eq!((next, changes), (known, vec![]));
    }

    #[test]
    fn one_that_is_over_is_forgotten_and_a_flood_is_bounded() {
        let alerts = three();
        let flood: Vec<_> = (0..2 * KNOWN_MAX)
            .map(|it| (of(&it.to_string()), 1.0))
            .collect();
        let answers = |all: Vec<(Labels, f64)>| -> Answers { vec![Some(all), None, None] };
        let (known, changes) = decide(&alerts, Known::new(), answers(flood), 0);
        assert_eq!((known.len(), changes.len()), (KNOWN_MAX, KNOWN_MAX));
        let (known, changes) = decide(&alerts, known, answers(vec![]), 1_000);
        assert_eq!((known.len(), changes.len()), (KNOWN_MAX, KNOWN_MAX));
        let (known, changes) = decide(&alerts, known, answers(vec![]), 1_000 + OVER_KEPT_MILLIS);
        assert_eq!((known.len(), changes.len()), (0, 0));
    }

    #[test]
    fn a_clock_that_is_set_back_begins_the_wait_anew() {
        let seen = run(1, &[(1_000, true), (10, true), (69, true), (70, true)]);
        assert_eq!(seen, [(70, Change::Fired)]);
        // One that fires goes on, and never ends before it began.
        let seen = run(0, &[(1_000, true), (10, true), (25, false)]);
        let over = Change::Resolved(15_000);
        assert_eq!(seen, [(1_000, Change::Fired), (25, over)]);
    }

    #[test]
    fn no_time_of_an_alert_is_yet_to_come_where_the_clock_was_set_back() {
        let alerts = three();
        let phases = |known: &Known| known.values().map(|it| it.phase).collect::<Vec<_>>();
        let asked = |holds: &[&str]| -> Answers {
            let all = holds.iter().map(|it| (of(it), 1.0)).collect();
            vec![Some(all), None, None]
        };
        let (known, _) = decide(&alerts, Known::new(), asked(&["disk", "queue"]), 90_000);
        let (known, _) = decide(&alerts, known, asked(&["queue"]), 95_000);
        let (known, _) = decide(&alerts, known, asked(&["queue"]), 7_000);
        let (fired, ended) = (7_000, 7_000);
        assert_eq!(
            phases(&known),
            [Phase::Over { fired, ended }, Phase::Firing(fired)]
        );
    }
}
