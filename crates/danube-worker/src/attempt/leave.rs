//! What a step leaves: the files that its `artifacts` name are kept once it has ended, however
//! it did, as long as its job has time.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use danube_executor::Stop;
use danube_model::{FailReason, Globs, StepStatus, spec};
use danube_telemetry::trace::hex;

use super::Running;
use crate::artifacts::{Found, Source, Unfound};
use crate::dispatch::{Leaving, Unkept};
use crate::verdict::{Clock, Verdict, broke, stopped, timed_out};

/// How long a file waits for a server that is away or busy.
const AWAY_MAX: Duration = Duration::from_secs(60);

/// How often it is tried again meanwhile.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// What is to be kept of a step.
pub(super) struct Wanted {
    patterns: Vec<String>,
    source: PathBuf,
}

impl Wanted {
    /// What the step says; none when it says nothing.
    pub(super) fn of(step: &spec::Step, source: &Path) -> Option<Self> {
        (!step.artifacts.is_empty()).then(|| Self {
            patterns: step.artifacts.clone(),
            source: source.to_owned(),
        })
    }
}

/// Why not all was kept.
enum Trouble {
    /// The job is to end.
    Over,
    /// For people.
    Said(String),
}

/// How a step ends instead, and what it means for the job.
type Instead = (StepStatus, Option<Verdict>);

impl Running<'_> {
    /// Keeps the files of a step that has ended. `after`: what its end means for the job, and
    /// whether it may fail. What can't be kept makes a step fail that went well; of one that failed
    /// only the log says it.
    pub(super) fn keep_files(
        &mut self,
        index: usize,
        wanted: &Wanted,
        (after, may_fail): (&Option<Verdict>, bool),
    ) -> Result<(), Instead> {
        if self.is_over() {
            return Ok(());
        }
        let name = self.steps[index].name.clone();
        let trouble = match self.keep_all(&name, wanted) {
            Ok(()) => return Ok(()),
            Err(trouble) => trouble,
        };
        let why = match trouble {
            // What ended it first holds.
            Trouble::Over if after.is_some() => return Ok(()),
            Trouble::Over => {
                let verdict = match self.own.control.stopped() {
                    Some(stop) => stopped(stop, Some(&name)),
                    None => {
                        let seconds = self.work.order.task.max_duration_seconds();
                        self.limit = seconds;
                        timed_out(&name, Some(Clock::Job(seconds)))
                    }
                };
                let status = match self.own.control.stopped() {
                    Some(_) => StepStatus::Cancelled,
                    None => StepStatus::Timeout,
                };
                return Err((status, Some(verdict)));
            }
            Trouble::Said(why) => why,
        };
        self.say(&format!("danube: {why}"));
        if after.is_some() || self.steps[index].exit_code != Some(0) {
            return Ok(());
        }
        let why = format!("step `{name}` went well, but its artifacts aren't kept: {why}");
        let verdict = (!may_fail).then(|| broke(FailReason::ArtifactFailed, why));
        Err((StepStatus::Failure, verdict))
    }

    fn keep_all(&mut self, step: &str, wanted: &Wanted) -> Result<(), Trouble> {
        let said = |error: String| Trouble::Said(format!("look for artifacts: {error}"));
        // Checked with the pipeline; an order of another version may have others.
        let globs = Globs::new(&wanted.patterns).map_err(said)?;
        let source = Source::open(&wanted.source).map_err(|error| said(error.to_string()))?;
        let found = source.find(&globs, &|| self.is_over());
        let found = found.map_err(|error| match error {
            Unfound::Stopped => Trouble::Over,
            error => said(error.to_string()),
        })?;
        self.say_found(&found, &wanted.patterns);
        for (at, path) in found.files.iter().enumerate() {
            match self.keep_one(step, &source, path) {
                Ok(line) => self.say(&format!("danube: {line}")),
                Err(Unkept::Fenced) => {
                    self.own.control.cancel(Stop::Lost);
                    return Err(Trouble::Over);
                }
                Err(Unkept::Stopped) => return Err(Trouble::Over),
                Err(Unkept::Nowhere) => {
                    let left = found.files.len() - at;
                    self.say(&format!("danube: {}", nowhere(left)));
                    return Ok(());
                }
                Err(error) => return Err(Trouble::Said(format!("keep artifact {path}: {error}"))),
            }
        }
        Ok(())
    }

    fn say_found(&mut self, found: &Found, patterns: &[String]) {
        for at in &found.without {
            self.say(&format!(
                "danube: no file fits the artifacts {}",
                patterns[*at]
            ));
        }
        for (path, why) in &found.passed_over {
            let path = path.escape_debug();
            self.say(&format!("danube: {path} isn't kept as an artifact: {why}"));
        }
        let more = found.passed_over_count - found.passed_over.len();
        if more > 0 {
            self.say(&format!(
                "danube: {more} more aren't kept, for such reasons"
            ));
        }
    }

    /// Keeps one; a line that says so.
    fn keep_one(&self, step: &str, source: &Source, path: &str) -> Result<String, Unkept> {
        let until = Instant::now() + AWAY_MAX;
        loop {
            let file = source.file(path).map_err(Unkept::Refused)?;
            let bytes = file.metadata()?.len();
            let leaving = Leaving {
                name: path,
                step,
                token: &self.own.token,
                file: &file,
                bytes,
                is_over: &|| self.is_over(),
            };
            match self.inner.dispatch.keep(self.work.attempt, &leaving) {
                Err(Unkept::Away(_)) if Instant::now() < until && !self.is_over() => {
                    thread::sleep(RETRY_EVERY);
                }
                Err(Unkept::Away(_)) if self.is_over() => return Err(Unkept::Stopped),
                Err(error) => return Err(error),
                Ok(sha256) => {
                    let sha256 = hex(&sha256);
                    return Ok(format!(
                        "kept artifact {path} ({bytes} bytes, sha256 {sha256})"
                    ));
                }
            }
        }
    }

    /// Whether the job is to end: it was stopped, or its time is up.
    fn is_over(&self) -> bool {
        self.own.control.stopped().is_some() || Instant::now() >= self.deadline
    }
}

fn nowhere(count: usize) -> String {
    let files = match count {
        1 => "1 file fits the step's artifacts and stays".to_owned(),
        count => format!("{count} files fit the step's artifacts and stay"),
    };
    format!("{files} where it was written: only a server keeps artifacts")
}
