//! What was different when a job failed from the last time that its pipeline succeeded.
//!
//! Each difference is a sentence, those first that most often are the cause: what was run, how it
//! was asked for, which steps there were, where it ran, and then what took longer than it did.

use std::collections::BTreeMap;

use danube_api::{HostView, JobView, StepView};
use danube_model::Timestamp;
use serde::Serialize;

use crate::words;

/// Sentences of one job. More are counted.
pub const DIFFERENCES_MAX: usize = 12;

/// Names that one sentence lists; of more it says how many.
const NAMES_MAX: usize = 3;

/// Characters of a value that a sentence quotes.
const VALUE_CHARS_MAX: usize = 80;

/// A step took longer if it took so many times as long,
const LONGER_TIMES_MIN: f64 = 2.0;

/// and so many seconds more: half of nothing is nothing.
const LONGER_SECONDS_MIN: f64 = 1.0;

/// A step needed more memory if it needed twice as much, and so many bytes more.
const MORE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// A job, as far as it is compared.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The job with its steps.
    pub job: &'a JobView,
    /// Its parameters; none where they aren't known.
    pub parameters: Option<&'a BTreeMap<String, String>>,
}

/// How a failed job differs from a success.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// Sentences, at most [`DIFFERENCES_MAX`].
    pub said: Vec<String>,
    /// How many more there are.
    pub left_out: usize,
}

/// Compares a job that failed with one that succeeded.
#[must_use]
pub fn differences(failed: Run<'_>, success: Run<'_>) -> Differences {
    let mut said = Vec::new();
    source(&mut said, failed.job, success.job);
    parameters(&mut said, failed, success);
    steps(&mut said, steps_of(failed.job), steps_of(success.job));
    around(&mut said, failed.job, success.job);
    hosts(&mut said, failed.job, success.job);
    let (now, then) = (steps_of(failed.job), steps_of(success.job));
    longer(&mut said, now, then);
    let left_out = said.len().saturating_sub(DIFFERENCES_MAX);
    said.truncate(DIFFERENCES_MAX);
    Differences { said, left_out }
}

fn steps_of(job: &JobView) -> &[StepView] {
    job.steps.as_deref().unwrap_or_default()
}

/// `Commit a instead of b.`, if they differ.
fn instead(said: &mut Vec<String>, what: &str, now: Option<&str>, then: Option<&str>) {
    said.extend(match (now, then) {
        (now, then) if now == then => None,
        (Some(now), Some(then)) => {
            let (now, then) = (short(now), short(then));
            Some(format!("{what} {now} instead of {then}."))
        }
        (Some(now), None) => Some(format!("{what} {} instead of none.", short(now))),
        (None, Some(then)) => {
            let what = what.to_lowercase();
            Some(format!("No {what} instead of {}.", short(then)))
        }
        (None, None) => None,
    });
}

fn short(value: &str) -> String {
    match value.char_indices().nth(VALUE_CHARS_MAX) {
        None => value.to_owned(),
        Some((end, _)) => format!("{}…", &value[..end]),
    }
}

fn source(said: &mut Vec<String>, failed: &JobView, success: &JobView) {
    let commit = |job: &JobView| job.forge.as_ref().map(|it| it.commit.clone());
    let (now, then) = (commit(failed), commit(success));
    // Whether the other came from a forge is said with who triggered it.
    if now.is_some() && then.is_some() {
        instead(said, "Commit", now.as_deref(), then.as_deref());
    }
    let text = |it: &Option<String>| it.clone().filter(|it| !it.is_empty());
    let both = |of: fn(&JobView) -> &Option<String>| (text(of(failed)), text(of(success)));
    for (what, (now, then)) in [
        ("Source", both(|it| &it.source)),
        ("Source commit", both(|it| &it.source_commit)),
        ("Ref", both(|it| &it.trigger_ref)),
    ] {
        // A source's commit isn't known before it was fetched: that isn't a difference.
        if what == "Source commit" && (now.is_none() || then.is_none()) {
            continue;
        }
        instead(said, what, now.as_deref(), then.as_deref());
    }
}

/// Only their names: a value may be a secret that nobody has masked, and is shown nowhere else.
fn parameters(said: &mut Vec<String>, failed: Run<'_>, success: Run<'_>) {
    let (Some(now), Some(then)) = (failed.parameters, success.parameters) else {
        return;
    };
    for (name, value) in now {
        let what = match then.get(name) {
            Some(before) if before == value => continue,
            Some(_) => "has another value",
            None => "is new",
        };
        said.push(format!("Parameter {} {what}.", short(name)));
    }
    for name in then.keys().filter(|it| !now.contains_key(*it)) {
        said.push(format!("Parameter {} is gone.", short(name)));
    }
}

fn steps(said: &mut Vec<String>, now: &[StepView], then: &[StepView]) {
    // A job that never came to its steps has none to compare.
    if now.is_empty() || then.is_empty() {
        return;
    }
    let names = |all: &[StepView]| all.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    let (names_now, names_then) = (names(now), names(then));
    let without = |all: &[String], others: &[String]| {
        let others = |it: &&String| !others.contains(it);
        all.iter().filter(others).cloned().collect::<Vec<_>>()
    };
    let added = without(&names_now, &names_then);
    let removed = without(&names_then, &names_now);
    if !added.is_empty() {
        said.push(format!("{} new.", counted(&added, "Step", "Steps")));
    }
    if !removed.is_empty() {
        said.push(format!("{} gone.", counted(&removed, "Step", "Steps")));
    }
    let common = |all: &[String], others: &[String]| {
        let is_common = |it: &&String| others.contains(it);
        all.iter().filter(is_common).cloned().collect::<Vec<_>>()
    };
    if common(&names_now, &names_then) != common(&names_then, &names_now) {
        said.push("The steps stand in another order.".to_owned());
    }
}

/// `Step a is`, `Steps a, b are`, `Steps a, b, c and 4 more are`.
fn counted(names: &[String], one: &str, many: &str) -> String {
    let (what, verb) = match names.len() {
        1 => (one, "is"),
        _ => (many, "are"),
    };
    format!("{what} {} {verb}", listed(names))
}

fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_MAX).map(|it| short(it)).collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    let rest = if more > 0 {
        format!(" and {} more", words::count(more as u64))
    } else {
        String::new()
    };
    format!("{}{rest}", shown.join(", "))
}

/// Where it ran, and who wanted it.
fn around(said: &mut Vec<String>, now: &JobView, then: &JobView) {
    // One that never ran has no worker, and its cause says so.
    if now.worker_id.is_some() && then.worker_id.is_some() {
        let (now, then) = (now.worker_id.as_deref(), then.worker_id.as_deref());
        instead(said, "Worker", now, then);
    }
    instead(said, "Queue", Some(&now.queue), Some(&then.queue));
    if now.attempt > 1 && now.attempt != then.attempt {
        let (now, then) = (now.attempt.to_string(), then.attempt.to_string());
        instead(said, "Attempt", Some(&now), Some(&then));
    }
    let (by, before) = (&*now.trigger_type, &*then.trigger_type);
    instead(said, "Triggered by", Some(by), Some(before));
}

fn hosts(said: &mut Vec<String>, failed: &JobView, success: &JobView) {
    let all = |job: &JobView| -> BTreeMap<String, String> {
        let hosts = job.hosts.iter().flatten();
        let one = |it: &HostView| (it.host.clone(), it.status.clone());
        hosts.map(one).collect()
    };
    let (now, then) = (all(failed), all(success));
    if now.is_empty() || then.is_empty() {
        return;
    }
    let worse = |status: &str| -> Vec<String> {
        let was = |host: &String| then.get(host).is_some_and(|it| it != status);
        let is_worse = |(host, is): &(&String, &String)| **is == status && was(host);
        now.iter().filter(is_worse).map(|it| it.0.clone()).collect()
    };
    for (names, one, many) in [
        (
            worse("unreachable"),
            "is unreachable; it wasn't then.",
            "are unreachable; they weren't then.",
        ),
        (
            worse("failed"),
            "failed; it hadn't then.",
            "failed; they hadn't then.",
        ),
    ] {
        match names.len() {
            0 => {}
            1 => said.push(format!("Host {} {one}", listed(&names))),
            _ => said.push(format!("Hosts {} {many}", listed(&names))),
        }
    }
    let without = |all: &BTreeMap<String, String>, others: &BTreeMap<String, String>| {
        let names = all.keys().filter(|it| !others.contains_key(*it));
        names.cloned().collect::<Vec<_>>()
    };
    let (added, removed) = (without(&now, &then), without(&then, &now));
    if !added.is_empty() {
        said.push(format!("{} new.", counted(&added, "Host", "Hosts")));
    }
    if !removed.is_empty() {
        let of = counted(&removed, "Host", "Hosts");
        said.push(format!("{of} not there any more."));
    }
}

/// What took much longer, and what needed much more memory.
fn longer(said: &mut Vec<String>, now: &[StepView], then: &[StepView]) {
    let seconds =
        |it: &StepView| -> Option<f64> { Some(it.finished_at?.seconds_since(it.started_at?)) };
    for step in now {
        let Some(before) = then.iter().find(|it| it.name == step.name) else {
            continue;
        };
        if let (Some(took), Some(took_then)) = (seconds(step), seconds(before))
            && took > took_then * LONGER_TIMES_MIN
            && took > took_then + LONGER_SECONDS_MIN
        {
            let (took, took_then) = (words::duration(took), words::duration(took_then));
            let name = short(&step.name);
            said.push(format!("Step {name} took {took} instead of {took_then}."));
        }
        if let (Some(used), Some(used_then)) = (step.max_rss_bytes, before.max_rss_bytes)
            && used / 2 > used_then
            && used > used_then.saturating_add(MORE_BYTES_MIN)
        {
            let (used, used_then) = (words::bytes(used), words::bytes(used_then));
            let name = short(&step.name);
            said.push(format!(
                "Step {name} used {used} of memory instead of {used_then}."
            ));
        }
    }
}

/// The last success that a failed job is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastSuccess {
    /// The job.
    pub id: String,
    /// Its short id.
    pub short_id: String,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(change: &Value) -> JobView {
        let mut job = json!({
            "id": "a", "short_id": "a", "kind": "pipeline", "pipeline": "build",
            "status": "success", "trigger_type": "api", "trigger_ref": "main",
            "submitted_by": "me", "queue": "default", "attempt": 1,
            "created_at": "2026-01-10T12:00:00Z", "started_at": null, "finished_at": null,
            "duration_seconds": null, "exit_code": null, "reason": null,
            "cancel_requested": false, "worker_id": "w1", "trace_id": "ab", "log_bytes": 0,
            "log_complete": null,
        });
        for (key, value) in change.as_object().unwrap() {
            job[key] = value.clone();
        }
        serde_json::from_value(job).unwrap()
    }

    fn step(name: &str, seconds: f64, mib: u64) -> Value {
        let at = |seconds: f64| {
            let millis = Timestamp::parse("2026-01-10T12:00:00Z")
                .unwrap()
                .as_millis();
            #[expect(clippy::cast_possible_truncation, reason = "a small number")]
            let after = (seconds * 1_000.0) as i64;
            Timestamp::from_millis(millis + after).to_string()
        };
        json!({
            "name": name, "status": "success", "exit_code": 0, "started_at": at(0.0),
            "finished_at": at(seconds), "log_start": 0, "log_end": 0, "cpu_seconds": 0.1,
            "max_rss_bytes": mib << 20,
        })
    }

    fn run(job: &JobView) -> Run<'_> {
        Run {
            job,
            parameters: None,
        }
    }

    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "cases read better without references"
    )]
    fn check(now: Value, then: Value, expected: &[&str]) {
        let (now, then) = (job(&now), job(&then));
        assert_eq!(differences(run(&now), run(&then)).said, expected);
    }

    #[test]
    fn what_is_the_same_is_not_said() {
        check(json!({}), json!({"id": "b", "submitted_by": "you"}), &[]);
        let steps = json!({"steps": [step("a", 1.0, 10)]});
        check(steps.clone(), steps, &[]);
        // It never came to its steps, or to a worker.
        let then = json!({"steps": [step("a", 1.0, 10)], "source_commit": "b"});
        check(json!({"worker_id": null}), then, &[]);
    }

    #[test]
    fn what_was_run_and_who_asked_for_it() {
        let forge = |commit: &str| {
            json!({"kind": "gitea", "name": "g", "repository": "a/b", "commit": commit,
                "is_fork": false})
        };
        check(
            json!({"forge": forge("aaa"), "source": "git a", "source_commit": "c1",
                "trigger_ref": null, "trigger_type": "cron", "queue": "big"}),
            json!({"forge": forge("bbb"), "source": "git b", "source_commit": "c2"}),
            &[
                "Commit aaa instead of bbb.",
                "Source git a instead of git b.",
                "Source commit c1 instead of c2.",
                "No ref instead of main.",
                "Queue big instead of default.",
                "Triggered by cron instead of api.",
            ],
        );
        check(
            json!({"worker_id": "w2", "attempt": 3}),
            json!({"trigger_ref": null}),
            &[
                "Ref main instead of none.",
                "Worker w2 instead of w1.",
                "Attempt 3 instead of 1.",
            ],
        );
    }

    #[test]
    fn parameters_by_their_names() {
        let (now, then) = (job(&json!({})), job(&json!({})));
        let given = |all: &[(&str, &str)]| -> BTreeMap<String, String> {
            let all = all.iter();
            all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let with = given(&[("same", "x"), ("level", "3"), ("new", "y")]);
        let without = given(&[("same", "x"), ("level", "2"), ("old", "z")]);
        let failed = Run {
            parameters: Some(&with),
            ..run(&now)
        };
        let success = Run {
            parameters: Some(&without),
            ..run(&then)
        };
        let expected = [
            "Parameter level has another value.",
            "Parameter new is new.",
            "Parameter old is gone.",
        ];
        assert_eq!(differences(failed, success).said, expected);
        assert!(differences(failed, run(&then)).said.is_empty());
    }

    #[test]
    fn steps_that_came_went_or_took_longer() {
        let all = |names: &[&str]| {
            let steps: Vec<Value> = names.iter().map(|it| step(it, 1.0, 10)).collect();
            json!({ "steps": steps })
        };
        check(
            all(&["a", "b", "c"]),
            all(&["b", "a", "x"]),
            &[
                "Step c is new.",
                "Step x is gone.",
                "The steps stand in another order.",
            ],
        );
        check(
            all(&["a", "b", "c", "d", "e", "f"]),
            all(&["a"]),
            &["Steps b, c, d and 2 more are new."],
        );
        check(
            json!({"steps": [step("a", 12.0, 10), step("b", 0.9, 300), step("c", 2.1, 10)]}),
            json!({"steps": [step("a", 4.0, 10), step("b", 0.1, 100), step("c", 1.1, 10)]}),
            &[
                "Step a took 12 s instead of 4.0 s.",
                "Step b used 300 MiB of memory instead of 100 MiB.",
            ],
        );
    }

    #[test]
    fn hosts_that_went_worse() {
        let hosts = |all: &[(&str, &str)]| {
            let one = |(host, status): &(&str, &str)| {
                json!({"host": host, "status": status, "ok": 1, "changed": 0, "failed": 0,
                    "unreachable": 0, "skipped": 0, "rescued": 0, "ignored": 0})
            };
            json!({"hosts": all.iter().map(one).collect::<Vec<_>>()})
        };
        check(
            hosts(&[
                ("a", "failed"),
                ("b", "unreachable"),
                ("c", "failed"),
                ("d", "ok"),
            ]),
            hosts(&[("a", "ok"), ("b", "changed"), ("c", "ok"), ("e", "ok")]),
            &[
                "Host b is unreachable; it wasn't then.",
                "Hosts a, c failed; they hadn't then.",
                "Host d is new.",
                "Host e is not there any more.",
            ],
        );
    }

    #[test]
    fn there_are_only_so_many_and_the_others_are_counted() {
        let many = |from: u32| -> Vec<Value> {
            let all = (0..40).map(|it| step(&format!("s{it}"), f64::from(from), 1));
            all.collect()
        };
        let (now, then) = (
            job(&json!({"steps": many(9)})),
            job(&json!({"steps": many(1)})),
        );
        let found = differences(run(&now), run(&then));
        assert_eq!((found.said.len(), found.left_out), (DIFFERENCES_MAX, 28));
    }
}
