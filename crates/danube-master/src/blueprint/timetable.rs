//! Which triggers of time are due. Reads no clock and no store: times come in and go out.

use std::collections::BTreeMap;

use danube_blueprint::{Blueprint, CronTrigger, Schedule};
use danube_model::Timestamp;
use danube_store::CronTimes;
use danube_telemetry::trace::hex;
use sha2::{Digest, Sha256};

/// How old a run that was missed may be and still be made up for: a night's work is done in
/// the morning, and a server that was away for days doesn't begin with what nobody waits for.
/// Shorter than idempotency keys are kept, so that it is never made up for twice.
pub(super) const CATCH_UP_SECONDS: i64 = 6 * 3_600;

/// A trigger of a pipeline.
pub(super) struct Entry {
    /// The pipeline, and a hash of all that the trigger says.
    pub(super) key: String,
    pub(super) pipeline: String,
    pub(super) trigger: CronTrigger,
    schedule: Schedule,
    /// Up to which it was looked at.
    seen: i64,
    /// The first time after that.
    next: Option<i64>,
}

impl Entry {
    /// What it is to run now: the last of the times that have come, if that isn't too long ago.
    fn due(&self, now: i64) -> Option<i64> {
        self.next.filter(|it| *it <= now)?;
        let after = self.seen.max(now - CATCH_UP_SECONDS - 1);
        self.schedule.last(after, now)
    }

    fn see(&mut self, at: i64) {
        self.seen = self.seen.max(at);
        self.next = self.schedule.next(self.seen);
    }
}

/// All triggers of a blueprint.
#[derive(Default)]
pub(super) struct Timetable {
    entries: Vec<Entry>,
}

impl Timetable {
    /// The triggers of a blueprint. One that nobody has seen yet counts from now on.
    pub(super) fn of(blueprint: &Blueprint, seen: &CronTimes, now: i64) -> Self {
        let triggers = blueprint.pipelines.iter().flat_map(|(name, declared)| {
            let all = declared.triggers.cron.iter();
            all.map(move |trigger| (name, trigger))
        });
        let mut entries = BTreeMap::new();
        for (name, trigger) in triggers {
            let Some(schedule) = Schedule::of(trigger) else {
                continue;
            };
            let key = key(name, trigger);
            let seen = seen.get(&key).map(|it| it.as_millis().div_euclid(1_000));
            let seen = seen.unwrap_or(now);
            let entry = Entry {
                key: key.clone(),
                pipeline: name.clone(),
                trigger: trigger.clone(),
                next: schedule.next(seen),
                schedule,
                seen,
            };
            entries.insert(key, entry);
        }
        Self {
            entries: entries.into_values().collect(),
        }
    }

    /// Up to which each was looked at.
    pub(super) fn seen(&self) -> CronTimes {
        let times = self
            .entries
            .iter()
            .map(|it| (it.key.clone(), time(it.seen)));
        times.collect()
    }

    /// Those that are due, with the time that is meant. What is too old to be made up for is
    /// seen by that.
    pub(super) fn due(&mut self, now: i64) -> Vec<(&Entry, i64)> {
        for entry in &mut self.entries {
            let has_come = entry.next.is_some_and(|it| it <= now);
            if has_come && entry.due(now).is_none() {
                entry.see(now - CATCH_UP_SECONDS - 1);
            }
        }
        let due = self.entries.iter();
        due.filter_map(|it| Some((it, it.due(now)?))).collect()
    }

    /// It ran, or never will.
    pub(super) fn see(&mut self, key: &str, at: i64) {
        if let Some(entry) = self.entries.iter_mut().find(|it| it.key == key) {
            entry.see(at);
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<i64> {
        self.entries.iter().filter_map(|it| it.next).min()
    }
}

/// A second, as the store has it.
pub(super) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1_000))
}

/// Names that differ and triggers that differ have keys that differ.
fn key(pipeline: &str, trigger: &CronTrigger) -> String {
    let text = serde_json::to_string(trigger).expect("texts");
    let hash = Sha256::digest(text.as_bytes());
    format!("{pipeline} {}", hex(&hash[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-01T00:00:00Z.
    const DAY: i64 = 1_772_323_200;
    const HOUR: i64 = 3_600;

    fn blueprint(schedules: &[&str]) -> Blueprint {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("pipelines")).unwrap();
        let cron: Vec<String> = schedules
            .iter()
            .map(|it| format!("{{schedule: '{it}'}}"))
            .collect();
        let text = format!(
            "apiVersion: danube.dev/v1\nkind: Pipeline\nmetadata: {{name: a}}\nspec:\n  triggers: {{cron: [{}]}}\n  \
             steps: [{{name: a, run: echo}}]\n",
            cron.join(", ")
        );
        std::fs::write(dir.path().join("pipelines/a.yaml"), text).unwrap();
        danube_blueprint::read(dir.path()).unwrap()
    }

    fn due(table: &mut Timetable, now: i64) -> Vec<i64> {
        let due = table.due(now);
        let due: Vec<(String, i64)> = due.iter().map(|it| (it.0.key.clone(), it.1)).collect();
        for (key, at) in &due {
            table.see(key, *at);
        }
        due.into_iter().map(|it| it.1).collect()
    }

    #[test]
    fn each_time_is_due_once_and_a_new_trigger_counts_from_now_on() {
        let blueprint = blueprint(&["0 * * * *"]);
        let mut table = Timetable::of(&blueprint, &CronTimes::new(), DAY + 30);
        assert_eq!(table.next(), Some(DAY + HOUR));
        assert!(due(&mut table, DAY + HOUR - 1).is_empty());
        assert_eq!(due(&mut table, DAY + HOUR), [DAY + HOUR]);
        assert!(due(&mut table, DAY + HOUR + 1).is_empty());
        // A clock that is set back repeats nothing.
        assert!(due(&mut table, DAY + HOUR - 60).is_empty());
        assert!(due(&mut table, DAY + HOUR).is_empty());
        assert_eq!(due(&mut table, DAY + 2 * HOUR + 5), [DAY + 2 * HOUR]);
    }

    #[test]
    fn of_those_that_were_missed_the_last_one_is_made_up_for_unless_it_is_too_old() {
        let blueprint = blueprint(&["0 * * * *", "0 3 * * *"]);
        let mut before = Timetable::of(&blueprint, &CronTimes::new(), DAY);
        let seen = before.seen();
        // The hourly one missed eight times, the daily one five hours ago.
        let mut table = Timetable::of(&blueprint, &seen, DAY + 8 * HOUR + 10);
        let mut found = due(&mut table, DAY + 8 * HOUR + 10);
        found.sort_unstable();
        assert_eq!(found, [DAY + 3 * HOUR, DAY + 8 * HOUR]);
        // Seven hours ago is too long ago.
        let now = DAY + 10 * HOUR + 10;
        assert_eq!(due(&mut before, now), [DAY + 10 * HOUR]);
        assert!(due(&mut before, now + 1).is_empty());
        assert_eq!(before.next(), Some(DAY + 11 * HOUR));
    }

    #[test]
    fn another_trigger_is_another_key() {
        let keys = |schedules: &[&str]| {
            let blueprint = blueprint(schedules);
            let table = Timetable::of(&blueprint, &CronTimes::new(), DAY);
            table.seen().into_keys().collect::<Vec<_>>()
        };
        assert_eq!(keys(&["0 3 * * *"]), keys(&["0 3 * * *", "0 3 * * *"]));
        assert_ne!(keys(&["0 3 * * *"]), keys(&["0 4 * * *"]));
    }
}
