//! Installs the roles and collections that a source requires from elsewhere, where the
//! operator allows it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use danube_executor::{Command, End, StepPlan, Stop, run_step};
use danube_model::FailReason;
use danube_model::playbook::source::Source;
use danube_source::galaxy::{self, Install, Requirements};

use super::playbook::{FETCH, STEPS, private_directory, setup};
use super::{Running, sentence};
use crate::place::Place;
use crate::verdict::{Clock, Verdict, broke, stopped, timed_out};

/// Where they are installed, beside the source.
const INSTALLED: &str = "galaxy";

/// How long one file of requirements may take: dozens of collections from a slow server
/// come in less, and a job's own hour shouldn't be spent on one that hangs.
const INSTALL_TIME_MAX: Duration = Duration::from_secs(600);

impl Running<'_> {
    /// Installs what the source requires; where it is then. In the walls of the job and as
    /// its user: what is installed may do no more there than the playbook that uses it.
    pub(super) fn install(
        &mut self,
        place: &Place,
        source: &Source,
    ) -> Result<Option<PathBuf>, Verdict> {
        let needed = galaxy::requirements(source, place.source());
        if needed.is_empty() {
            return Ok(None);
        }
        let Some(settings) = self.inner.playbooks.galaxy.clone() else {
            // It may be there all the same, in the source or on the machine.
            self.say(&format!(
                "danube: {} isn't installed: the operator doesn't allow it (`sources.galaxy`)",
                files(&needed)
            ));
            return Ok(None);
        };
        let into = place.private_file(INSTALLED);
        private_directory(&into)?;
        place
            .give()
            .map_err(setup("give the source to the job's user"))?;
        for it in &needed {
            let install = galaxy::install(it, &into, settings.server.as_deref());
            self.say(&format!(
                "danube: installs what {} names",
                it.file.display()
            ));
            self.run_install(place, install, &it.file)?;
        }
        Ok(Some(into))
    }

    fn run_install(&mut self, place: &Place, install: Install, file: &Path) -> Result<(), Verdict> {
        let limits = self.work.order.task.limits();
        let sandbox = place.sandbox(&self.inner.walls, &limits);
        let argv = install.argv.into_iter().map(Into::into).collect();
        let mut plan = StepPlan::new(Command::Argv(argv), place.source(), sandbox);
        // No step's environment: it gets no token of the job.
        plan.env = self.environment(place, FETCH, None);
        plan.env.extend(install.env);
        let left = self.deadline.saturating_duration_since(Instant::now());
        plan.timeout = Some(left.min(INSTALL_TIME_MAX));
        plan.grace = self.inner.settings.grace;
        let outcome = run_step(&plan, &self.own.control, &mut self.output);
        let outcome = outcome.map_err(|error| broke(FailReason::SetupFailed, sentence(&error)))?;
        let file = file.display();
        match outcome.end {
            End::Exit(0) => Ok(()),
            End::Stopped(Stop::Timeout) if left <= INSTALL_TIME_MAX => {
                let limit = self.work.order.task.max_duration_seconds();
                self.limit = limit;
                Err(timed_out(STEPS[FETCH], Some(Clock::Job(limit))))
            }
            End::Stopped(Stop::Timeout) => {
                let seconds = INSTALL_TIME_MAX.as_secs();
                let why = format!("what {file} names wasn't installed within {seconds} s");
                Err(broke(FailReason::SourceFailed, why))
            }
            End::Stopped(stop) => Err(stopped(stop, Some(STEPS[FETCH]))),
            End::Exit(_) | End::Signal(_) => {
                let why = format!("what {file} names couldn't be installed; the log says why");
                Err(broke(FailReason::SourceFailed, why))
            }
        }
    }
}

fn files(needed: &[Requirements]) -> String {
    let files = needed.iter().map(|it| it.file.to_string_lossy());
    files.collect::<Vec<_>>().join(", ")
}
