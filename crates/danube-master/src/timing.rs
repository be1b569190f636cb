//! What took the time of a pipeline's runs: from what is stored of each to a table. Reads
//! nothing but its arguments.

use std::collections::HashMap;
use std::sync::Arc;

use danube_api::{PartTiming, PipelineTiming, TimingList};
use danube_model::Timestamp;
use danube_store::{AllPastRuns, PastRun, PastRuns};

/// Runs on either side of a comparison, at least: the median of two is one of them.
const COMPARED_RUNS_MIN: usize = 3;

/// Which parts a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// The whole and the wait in the queue.
    Brief,
    /// Stages and steps, too.
    Full,
}

/// A kind of part; in this order where they took the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Whole,
    Queue,
    Stage,
    Step,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Queue => "queue",
            Self::Stage => "stage",
            Self::Step => "step",
        }
    }
}

/// The times of one part, in milliseconds.
struct Part {
    kind: Kind,
    name: Arc<str>,
    /// In the latest runs.
    now: Vec<u64>,
    /// In those before.
    before: Vec<u64>,
}

/// The table of a pipeline: its latest `wanted` runs against as many before them.
pub(crate) fn table(pipeline: String, past: &PastRuns, wanted: usize) -> PipelineTiming {
    compared(pipeline, past, wanted, Detail::Full)
}

/// A brief table of each pipeline, the slowest first.
pub(crate) fn list(all: AllPastRuns, wanted: usize) -> TimingList {
    let brief = |(name, past): (String, PastRuns)| compared(name, &past, wanted, Detail::Brief);
    let mut pipelines: Vec<PipelineTiming> = all.pipelines.into_iter().map(brief).collect();
    // None is behind every time: the whole is the first part.
    let whole = |it: &PipelineTiming| it.parts.first().map_or(-1.0, |it| it.p50_seconds);
    pipelines.sort_by(|a, b| whole(b).total_cmp(&whole(a)));
    TimingList {
        pipelines,
        is_cut: all.is_cut,
    }
}

fn compared(pipeline: String, past: &PastRuns, wanted: usize, detail: Detail) -> PipelineTiming {
    let split = past.runs.len().min(wanted);
    let (now, before) = past.runs.split_at(split);
    PipelineTiming {
        pipeline,
        runs: now.len(),
        runs_before: before.len(),
        is_cut: past.is_cut,
        parts: parts(now, before, detail),
    }
}

/// The whole first, then what took most. What no longer is there took nothing, and is left out.
fn parts(now: &[PastRun], before: &[PastRun], detail: Detail) -> Vec<PartTiming> {
    let mut parts = collect(now, before, detail);
    parts.retain(|it| !it.now.is_empty());
    let total = |it: &Part| it.now.iter().sum::<u64>();
    let whole = parts
        .iter()
        .find(|it| it.kind == Kind::Whole)
        .map_or(0, total);
    // A stable sort: steps that took the same stay in their order.
    parts.sort_by_key(|it| {
        let is_below = it.kind != Kind::Whole;
        (is_below, std::cmp::Reverse(total(it)), it.kind)
    });
    parts.into_iter().map(|it| it.timing(whole)).collect()
}

fn collect(now: &[PastRun], before: &[PastRun], detail: Detail) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut places: HashMap<(Kind, Arc<str>), usize> = HashMap::new();
    let runs = now.iter().map(|it| (it, true));
    for (run, is_now) in runs.chain(before.iter().map(|it| (it, false))) {
        for (kind, name, millis) in of_run(run, detail) {
            let place = places.entry((kind, Arc::clone(&name)));
            let place = *place.or_insert_with(|| {
                parts.push(Part {
                    kind,
                    name,
                    now: Vec::new(),
                    before: Vec::new(),
                });
                parts.len() - 1
            });
            let part = &mut parts[place];
            let times = if is_now {
                &mut part.now
            } else {
                &mut part.before
            };
            times.push(millis);
        }
    }
    parts
}

/// The parts of one run. Together they are its whole, but for what passed between two steps.
fn of_run(run: &PastRun, detail: Detail) -> Vec<(Kind, Arc<str>, u64)> {
    let whole = millis(run.created_at, run.finished_at);
    let queued = u64::try_from(run.queued.as_millis()).unwrap_or(u64::MAX);
    let mut parts = vec![
        (Kind::Whole, "whole".into(), whole),
        (Kind::Queue, "queue".into(), queued),
    ];
    if detail == Detail::Brief {
        return parts;
    }
    if run.attempt > 1 {
        let earlier = millis(run.created_at, run.claimed_at).saturating_sub(queued);
        parts.push((Kind::Stage, "lost attempts".into(), earlier));
    }
    let (first, last) = (run.steps.first(), run.steps.last());
    let began = first.map_or(run.started_at, |it| it.started_at);
    parts.push((Kind::Stage, "prepare".into(), millis(run.claimed_at, began)));
    for step in &run.steps {
        let took = millis(step.started_at, step.finished_at);
        parts.push((Kind::Step, Arc::clone(&step.name), took));
    }
    if let Some(last) = last {
        let rest = millis(last.finished_at, run.finished_at);
        parts.push((Kind::Stage, "clean up".into(), rest));
    }
    parts
}

/// From one to the other; 0 when the clock was set back.
fn millis(from: Timestamp, to: Timestamp) -> u64 {
    let passed = to.as_millis().saturating_sub(from.as_millis());
    u64::try_from(passed).unwrap_or(0)
}

impl Part {
    fn timing(mut self, whole: u64) -> PartTiming {
        self.now.sort_unstable();
        self.before.sort_unstable();
        let total: u64 = self.now.iter().sum();
        let p50 = nearest_rank(&self.now, 50).unwrap_or(0);
        let before = nearest_rank(&self.before, 50);
        let runs = self.now.len();
        let is_enough = runs.min(self.before.len()) >= COMPARED_RUNS_MIN;
        PartTiming {
            kind: self.kind.as_str().to_owned(),
            name: (*self.name).to_owned(),
            runs,
            p50_seconds: seconds(p50),
            p95_seconds: seconds(nearest_rank(&self.now, 95).unwrap_or(0)),
            share: share(total, whole),
            p50_before_seconds: before.map(seconds),
            change_percent: before
                .filter(|it| is_enough && *it > 0)
                .map(|it| change(it, p50)),
        }
    }
}

/// The smallest of the sorted values below or at which so many in a hundred are.
fn nearest_rank(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[expect(clippy::cast_precision_loss, reason = "to be read")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}

/// From 0 to 1, in thousandths.
#[expect(clippy::cast_precision_loss, reason = "to be read")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    // Clocks that were set make a part longer than the whole.
    (part as f64 / whole as f64 * 1_000.0).round().min(1_000.0) / 1_000.0
}

/// In percent of what it was, in tenths.
#[expect(clippy::cast_precision_loss, reason = "to be read")]
fn change(before: u64, now: u64) -> f64 {
    let (before, now) = (before as f64, now as f64);
    ((now - before) / before * 1_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use danube_store::PastStep;

    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// A run that waits 10 ms, is prepared in 5, has these steps and takes 2 to clean up.
    fn run(steps: &[(&str, i64)]) -> PastRun {
        let mut now = 1_015;
        let steps: Vec<PastStep> = steps
            .iter()
            .map(|(name, took)| {
                let started_at = at(now);
                now += took;
                PastStep {
                    name: (*name).into(),
                    started_at,
                    finished_at: at(now),
                }
            })
            .collect();
        PastRun {
            created_at: at(1_000),
            queued: Duration::from_millis(10),
            claimed_at: at(1_010),
            attempt: 1,
            started_at: at(1_014),
            finished_at: at(now + 2),
            steps,
        }
    }

    fn past(runs: Vec<PastRun>) -> PastRuns {
        PastRuns {
            runs,
            is_cut: false,
        }
    }

    fn full(runs: Vec<PastRun>, wanted: usize) -> PipelineTiming {
        table("p".to_owned(), &past(runs), wanted)
    }

    /// A line a part: kind, name, runs, p50, p95, share, p50 before, change.
    fn lines(of: &PipelineTiming) -> Vec<String> {
        let line = |it: &PartTiming| {
            let before = it
                .p50_before_seconds
                .map_or("-".to_owned(), |it| it.to_string());
            let change = it
                .change_percent
                .map_or("-".to_owned(), |it| it.to_string());
            format!(
                "{}/{} {} {} {} {} {before} {change}",
                it.kind, it.name, it.runs, it.p50_seconds, it.p95_seconds, it.share
            )
        };
        of.parts.iter().map(line).collect()
    }

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let hundred: Vec<u64> = (1..=100).collect();
        for (sorted, percent, expected) in [
            (&[][..], 50, None),
            (&[7], 50, Some(7)),
            (&[7], 95, Some(7)),
            (&[1, 2], 50, Some(1)),
            (&[1, 2, 3], 50, Some(2)),
            (&[1, 2, 3, 4], 50, Some(2)),
            (&[1, 2, 3, 4], 95, Some(4)),
            (&hundred[..20], 95, Some(19)),
            (&hundred[..21], 95, Some(20)),
            (&hundred, 50, Some(50)),
            (&hundred, 95, Some(95)),
        ] {
            assert_eq!(nearest_rank(sorted, percent), expected, "{sorted:?}");
        }
    }

    #[test]
    fn the_parts_are_ordered_by_what_takes_most_and_compared_with_the_runs_before() {
        let runs = [
            // Newest first: the latest three, then three before.
            run(&[("build", 100), ("test", 300)]),
            run(&[("build", 110), ("test", 500)]),
            run(&[("build", 90), ("test", 400)]),
            run(&[("build", 80), ("test", 600)]),
            run(&[("build", 200), ("test", 500)]),
            run(&[("build", 100), ("test", 500)]),
        ];
        let table = full(runs.to_vec(), 3);
        assert_eq!((table.runs, table.runs_before), (3, 3));
        assert_eq!(
            lines(&table),
            [
                "whole/whole 3 0.507 0.627 1 0.697 -27.3",
                "step/test 3 0.4 0.5 0.774 0.5 -20",
                "step/build 3 0.1 0.11 0.193 0.1 0",
                "queue/queue 3 0.01 0.01 0.019 0.01 0",
                "stage/prepare 3 0.005 0.005 0.01 0.005 0",
                "stage/clean up 3 0.002 0.002 0.004 0.002 0",
            ]
        );
    }

    #[test]
    fn all_pipelines_are_listed_the_slowest_first() {
        let of = |name: &str, took: &[i64]| {
            let runs = took.iter().map(|it| run(&[("a", *it)])).collect();
            (name.to_owned(), past(runs))
        };
        let all = AllPastRuns {
            pipelines: vec![of("none", &[]), of("fast", &[1, 2]), of("slow", &[900, 1])],
            is_cut: true,
        };
        let list = list(all, 1);
        assert!(list.is_cut);
        let rows = list.pipelines.iter().map(|it| {
            let parts = it.parts.iter();
            let parts = parts.map(|it| format!(" {} {}", it.kind, it.p50_seconds));
            let parts: String = parts.collect();
            format!("{} {}/{}{parts}", it.pipeline, it.runs, it.runs_before)
        });
        assert_eq!(
            rows.collect::<Vec<_>>(),
            [
                "slow 1/1 whole 0.917 queue 0.01",
                "fast 1/1 whole 0.018 queue 0.01",
                "none 0/0",
            ]
        );
    }

    #[test]
    fn too_few_runs_are_not_compared() {
        let of = |now: usize, before: usize| {
            let now = vec![run(&[("a", 30)]); now];
            let table = full(
                [now.clone(), vec![run(&[("a", 20)]); before]].concat(),
                now.len(),
            );
            let step = table.parts.iter().find(|it| it.kind == "step").cloned();
            step.map(|it| (it.p50_before_seconds, it.change_percent))
        };
        assert_eq!(of(3, 3), Some((Some(0.02), Some(50.0))));
        assert_eq!(of(3, 2), Some((Some(0.02), None)));
        assert_eq!(of(2, 2), Some((Some(0.02), None)));
        assert_eq!(of(3, 0), Some((None, None)));
        assert_eq!(of(0, 0), None);
        // What took no time can't have grown by a part of it.
        let none = vec![run(&[("a", 0)]); 3];
        let table = full([vec![run(&[("a", 9)]); 3], none].concat(), 3);
        let step = table.parts.iter().find(|it| it.kind == "step").cloned();
        assert_eq!(step.and_then(|it| it.change_percent), None);
    }

    #[test]
    fn a_step_counts_where_it_ran_and_one_that_is_gone_is_left_out() {
        let runs = [
            run(&[("build", 10)]),
            run(&[("build", 10), ("deploy", 50)]),
            run(&[("old", 900)]),
        ];
        let table = full(runs.to_vec(), 2);
        assert_eq!(
            lines(&table),
            [
                "whole/whole 2 0.027 0.077 1 0.917 -",
                "step/deploy 1 0.05 0.05 0.481 - -",
                // A tie: a wait is told of before a step.
                "queue/queue 2 0.01 0.01 0.192 0.01 -",
                "step/build 2 0.01 0.01 0.192 - -",
                "stage/prepare 2 0.005 0.005 0.096 0.005 -",
                "stage/clean up 2 0.002 0.002 0.038 0.002 -",
            ]
        );
    }

    #[test]
    fn attempts_that_were_lost_are_a_stage_of_their_own() {
        let lost = PastRun {
            claimed_at: at(4_010),
            started_at: at(4_014),
            finished_at: at(4_020),
            attempt: 2,
            steps: Vec::new(),
            ..run(&[])
        };
        assert_eq!(
            lines(&full(vec![lost], 1)),
            [
                "whole/whole 1 3.02 3.02 1 - -",
                "stage/lost attempts 1 3 3 0.993 - -",
                "queue/queue 1 0.01 0.01 0.003 - -",
                "stage/prepare 1 0.004 0.004 0.001 - -",
            ]
        );
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_time_negative() {
        let odd = PastRun {
            created_at: at(9_000),
            ..run(&[("a", 5)])
        };
        let table = full(vec![odd], 1);
        assert!(table.parts.iter().all(|it| it.p50_seconds >= 0.0));
        assert!(table.parts.iter().all(|it| it.share == 0.0), "of nothing");
    }
}
