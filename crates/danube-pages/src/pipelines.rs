//! Pipelines: how their latest runs went, and what took the time.

use std::collections::BTreeMap;

use askama::Template;
use danube_api::{JobView, PartTiming, PipelineTiming, PipelineView};
use danube_model::State;
use serde::Serialize;

use crate::{Page, Shell, Tab};

/// All that the viewer reaches.
#[derive(Debug, Clone, Serialize)]
pub struct PipelinesPage {
    /// By name.
    pub pipelines: Vec<PipelineLine>,
    /// There are more than these.
    pub is_cut: bool,
}

/// A pipeline in the list.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineLine {
    /// Its name.
    pub name: String,
    /// As it is declared; none of one that was only ever submitted in full.
    pub declared: Option<PipelineView>,
    /// How long its runs took and waited; none without a run that counts.
    pub timing: Option<PipelineTiming>,
    /// Its latest jobs, newest first.
    pub latest: Vec<JobView>,
}

/// One pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct PipelinePage {
    /// Its name.
    pub name: String,
    /// As it is declared.
    pub declared: Option<PipelineView>,
    /// What took the time.
    pub timing: PipelineTiming,
    /// Its latest jobs, newest first.
    pub latest: Vec<JobView>,
    /// Steps of these jobs that ended both ways, the least reliable first.
    pub flaky: Vec<FlakyStep>,
}

/// A step that ended both ways.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlakyStep {
    /// Its name.
    pub name: String,
    /// Runs in which it ended by itself.
    pub runs: usize,
    /// Those in which it failed.
    pub failed: usize,
    /// How often it ended in another way than in the run before: what is broken once and
    /// mended once has two, what fails now and then has more.
    pub turns: usize,
}

impl FlakyStep {
    /// The steps that ended both ways, from jobs with their steps, newest first.
    #[must_use]
    pub fn all(jobs: &[JobView]) -> Vec<Self> {
        let mut ends: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
        for step in jobs.iter().rev().flat_map(|it| it.steps.iter().flatten()) {
            let ended = match step.status.as_str() {
                "success" => true,
                "failure" | "timeout" => false,
                _ => continue,
            };
            ends.entry(&step.name).or_default().push(ended);
        }
        let steps = ends.into_iter().map(|(name, ends)| Self {
            name: name.to_owned(),
            runs: ends.len(),
            failed: ends.iter().filter(|it| !**it).count(),
            turns: ends.windows(2).filter(|it| it[0] != it[1]).count(),
        });
        let mut flaky: Vec<Self> = steps.filter(|it| it.turns > 0).collect();
        flaky.sort_by_key(|it| std::cmp::Reverse((it.turns, it.failed)));
        flaky
    }
}

/// Height of the bars of a trend, in its own units.
const TREND_HEIGHT: f64 = 60.0;

/// Width of one of them with the space behind it.
const TREND_STEP: f64 = 8.0;

/// A job as a bar of the trend.
struct Bar<'a> {
    job: &'a JobView,
    x: f64,
    y: f64,
    height: f64,
    seconds: f64,
}

impl PipelinePage {
    /// How many of the jobs that ended by themselves did so well, from 0 to 1.
    #[must_use]
    pub fn success_rate(&self) -> Option<f64> {
        success_rate(&self.latest)
    }

    fn part(&self, kind: &str) -> Option<&PartTiming> {
        self.timing.parts.iter().find(|it| it.kind == kind)
    }

    fn slowest(&self) -> impl Iterator<Item = &PartTiming> {
        self.timing.parts.iter().filter(|it| it.kind != "whole")
    }

    fn width(&self) -> f64 {
        self.latest.len() as f64 * TREND_STEP
    }

    /// The latest jobs, oldest first, each as high as it took long.
    fn bars(&self) -> Vec<Bar<'_>> {
        let took = |it: &JobView| it.duration_seconds.unwrap_or(0.0);
        let longest = self
            .latest
            .iter()
            .map(took)
            .fold(f64::MIN_POSITIVE, f64::max);
        let bars = self.latest.iter().rev().enumerate().map(|(at, job)| {
            let seconds = took(job);
            // Even one that took no time is there.
            let height = (seconds / longest * TREND_HEIGHT).max(2.0);
            Bar {
                job,
                x: at as f64 * TREND_STEP,
                y: TREND_HEIGHT - height,
                height,
                seconds,
            }
        });
        bars.collect()
    }
}

impl PipelineLine {
    fn success_rate(&self) -> Option<f64> {
        success_rate(&self.latest)
    }

    fn part(&self, kind: &str) -> Option<&PartTiming> {
        let parts = &self.timing.as_ref()?.parts;
        parts.iter().find(|it| it.kind == kind)
    }
}

fn success_rate(jobs: &[JobView]) -> Option<f64> {
    let ends = jobs.iter().filter_map(JobView::state);
    let (mut good, mut bad) = (0_u32, 0_u32);
    for end in ends {
        match end {
            State::Success => good += 1,
            State::Failure | State::Timeout => bad += 1,
            _ => {}
        }
    }
    let all = good + bad;
    (all > 0).then(|| f64::from(good) / f64::from(all))
}

#[derive(Template)]
#[template(path = "pipelines.html")]
struct ListHtml<'a> {
    shell: &'a Shell,
    page: &'a PipelinesPage,
}

impl Page for PipelinesPage {
    fn title(&self) -> String {
        "Pipelines".to_owned()
    }

    fn tab(&self) -> Option<Tab> {
        Some(Tab::Pipelines)
    }

    fn html(&self, shell: &Shell) -> askama::Result<String> {
        ListHtml { shell, page: self }.render()
    }
}

#[derive(Template)]
#[template(path = "pipeline.html")]
struct Html<'a> {
    shell: &'a Shell,
    page: &'a PipelinePage,
}

impl Page for PipelinePage {
    fn title(&self) -> String {
        self.name.clone()
    }

    fn tab(&self) -> Option<Tab> {
        Some(Tab::Pipelines)
    }

    fn html(&self, shell: &Shell) -> askama::Result<String> {
        Html { shell, page: self }.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(steps: &[(&str, &str)]) -> JobView {
        let steps: Vec<_> = steps
            .iter()
            .map(|(name, status)| serde_json::json!({"name": name, "status": status}))
            .collect();
        let status = if steps.iter().any(|it| it["status"] == "failure") {
            "failure"
        } else {
            "success"
        };
        serde_json::from_value(serde_json::json!({
            "id": "i", "short_id": "s", "kind": "pipeline", "pipeline": "web", "status": status,
            "trigger_type": "api", "submitted_by": "admin", "attempt": 1,
            "created_at": "2026-01-31T12:00:00.000Z", "cancel_requested": false, "trace_id": "t",
            "log_bytes": 0, "steps": steps,
        }))
        .unwrap()
    }

    #[test]
    fn what_fails_now_and_then_is_flaky_and_what_broke_once_is_less_so() {
        let good = ("build", "success");
        let jobs = [
            job(&[good, ("test", "success")]),
            job(&[good, ("test", "failure"), ("deploy", "skipped")]),
            job(&[good, ("test", "success"), ("deploy", "success")]),
            job(&[good, ("test", "failure"), ("deploy", "skipped")]),
            job(&[good, ("test", "success"), ("deploy", "failure")]),
        ];
        let step = |name: &str, runs, failed, turns| FlakyStep {
            name: name.to_owned(),
            runs,
            failed,
            turns,
        };
        assert_eq!(
            FlakyStep::all(&jobs),
            [step("test", 5, 2, 4), step("deploy", 2, 1, 1)]
        );
        assert_eq!(FlakyStep::all(&jobs[..1]), []);
        assert_eq!(success_rate(&jobs), Some(0.4));
        assert_eq!(success_rate(&[]), None);
    }
}
