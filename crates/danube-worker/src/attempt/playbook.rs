//! The work of a playbook's job: its source, its credentials, then Ansible.

use std::cell::RefCell;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use danube_ansible::{Credentials, Listener, Prepared, Run, Why, prepare};
use danube_executor::{Command, Output, StepPlan, Stream};
use danube_model::credential::Credential;
use danube_model::playbook::source::Source;
use danube_model::playbook::{Inventory, Playbook, Progress, Use};
use danube_model::{Cause, FailReason, StepStatus};
use danube_source::{Fetched, Request, SourceError, Watch};

use super::given::{self, Given};
use super::said::{Said, fold_key};
use super::{How, Running};
use crate::dispatch::ReportError;
use crate::environment::StepOwn;
use crate::hears::Hears;
use crate::place::Place;
use crate::verdict::{Clock, Verdict, broke, stopped, succeeded, timed_out};

/// The names of the steps, in order.
pub(super) const STEPS: [&str; 3] = ["fetch_source", "resolve_credentials", "run_playbook"];

pub(super) const FETCH: usize = 0;
const RESOLVE: usize = 1;
const RUN: usize = 2;

/// The run's private directory, beside the source.
const PRIVATE: &str = "ansible";

/// Where an inventory that isn't in the source is put.
const INVENTORY: &str = "inventory";

/// What a run begins with.
struct Brought {
    /// The playbook's path below the source.
    playbook: String,
    inventory: PathBuf,
    /// Where requirements were installed, if any were.
    installed: Option<PathBuf>,
}

impl Running<'_> {
    /// Fetches the source, gets the credentials, runs the playbook.
    pub(super) fn run_playbook_job(&mut self, place: &Place, playbook: &Playbook) -> Verdict {
        if let Err(error) = self.inner.playbooks.ansible() {
            return broke(FailReason::SetupFailed, error.to_string());
        }
        let fetched = self.step_of_ours(FETCH, |running| running.fetch(place, playbook));
        let fetched = match fetched {
            Ok(it) => it,
            Err(verdict) => return verdict,
        };
        let ready = self.step_of_ours(RESOLVE, |running| {
            let given = running.resolve(playbook, |it| !given::is_of_source(it))?;
            running.prepare(place, playbook, &fetched, &given)
        });
        let ready = match ready {
            Ok(it) => it,
            Err(verdict) => return verdict,
        };
        let verdict = self.ansible(place, ready);
        // With the workspace it would go later, and a disk may hold that up.
        let private = place.private_file(PRIVATE);
        if private.exists() && fs::remove_dir_all(&private).is_err() {
            self.say("danube: the private files of the run go with its workspace");
        }
        verdict
    }

    /// A step that is done here and has no process.
    fn step_of_ours<T>(
        &mut self,
        index: usize,
        work: impl FnOnce(&mut Self) -> Result<T, Verdict>,
    ) -> Result<T, Verdict> {
        if let Some(stop) = self.own.control.stopped() {
            return Err(stopped(stop, None));
        }
        self.step_begins(index);
        let done = work(self);
        let status = match &done {
            Ok(_) => StepStatus::Success,
            Err(Verdict::Ended {
                cause: Cause::TimedOut,
                ..
            }) => StepStatus::Timeout,
            Err(Verdict::Ended {
                cause: Cause::Failed(_),
                reason,
                ..
            }) => {
                if let Some(reason) = reason {
                    self.say(&format!("danube: {reason}"));
                }
                StepStatus::Failure
            }
            Err(_) => StepStatus::Cancelled,
        };
        self.step_ends(index, status, None);
        done
    }

    /// Brings the source, the inventory, and what the source requires from elsewhere.
    fn fetch(&mut self, place: &Place, playbook: &Playbook) -> Result<Brought, Verdict> {
        let given = self.resolve(playbook, given::is_of_source)?;
        let Some(fetcher) = self.inner.playbooks.fetcher.clone() else {
            return self.is_here(place, playbook);
        };
        let fetch = |running: &mut Self, source: &Source, into: &Path| {
            let request = Request {
                source,
                git: given.git.as_ref(),
                nexus: given.nexus.as_ref(),
                into,
            };
            running.watched(|watch| fetcher.fetch(&request, watch))
        };
        let fetched = fetch(self, &playbook.source, place.source())?;
        if playbook.source.repository().is_some() {
            self.commit.clone_from(&fetched.revision);
        }
        let inventory = match &playbook.inventory {
            Inventory::Git {
                repo,
                git_ref,
                path,
            } => {
                let into = place.private_file(INVENTORY);
                private_directory(&into)?;
                let source = Source::Playbook {
                    repo: repo.clone(),
                    git_ref: git_ref.clone(),
                    path: path.clone(),
                };
                fetch(self, &source, &into)?.playbook
            }
            Inventory::Url { url, sha256 } => {
                let into = place.private_file(INVENTORY);
                private_directory(&into)?;
                let from = (url.as_str(), sha256.as_deref());
                self.watched(|watch| fetcher.fetch_inventory(from, &into, watch))?
            }
            other => self.own_inventory(place, other)?,
        };
        Ok(Brought {
            playbook: below(&fetched),
            inventory,
            installed: self.install(place, &playbook.source)?,
        })
    }

    /// Nothing is fetched: the playbook is where the run starts.
    fn is_here(&mut self, place: &Place, playbook: &Playbook) -> Result<Brought, Verdict> {
        let Source::Local { playbook: path, .. } = &playbook.source else {
            let why = "this worker fetches no sources".to_owned();
            return Err(broke(FailReason::SourceFailed, why));
        };
        Ok(Brought {
            playbook: path.clone(),
            inventory: self.own_inventory(place, &playbook.inventory)?,
            installed: None,
        })
    }

    /// An inventory that needs nothing fetched.
    fn own_inventory(&self, place: &Place, inventory: &Inventory) -> Result<PathBuf, Verdict> {
        match inventory {
            Inventory::Source { path } => Ok(place.source().join(path)),
            Inventory::Inline(inline) => {
                let dir = place.private_file(INVENTORY);
                private_directory(&dir)?;
                let file = dir.join("hosts.yml");
                let text = inline.to_json();
                given::write_private(&file, text.as_bytes())
                    .map_err(setup("write the inventory"))?;
                Ok(file)
            }
            _ => {
                let why = "this worker fetches no inventories".to_owned();
                Err(broke(FailReason::SourceFailed, why))
            }
        }
    }

    /// Runs a fetch within the job's time; what it says goes to the log.
    fn watched<T>(
        &mut self,
        fetch: impl FnOnce(&Watch<'_>) -> Result<T, SourceError>,
    ) -> Result<T, Verdict> {
        let control = self.own.control.clone();
        let fetched = {
            let output = RefCell::new(&mut self.output);
            let say = |line: &str| {
                let text = format!("{line}\n");
                // A log that takes nothing shows elsewhere.
                let _ = output.borrow_mut().write(Stream::Stdout, text.as_bytes());
            };
            fetch(&Watch {
                deadline: self.deadline,
                cancelled: &|| control.stopped().is_some(),
                say: &say,
            })
        };
        fetched.map_err(|error| match (error, control.stopped()) {
            (SourceError::Cancelled, Some(stop)) => stopped(stop, Some(STEPS[FETCH])),
            (SourceError::TimedOut { .. }, _) if Instant::now() >= self.deadline => {
                let limit = self.work.order.task.max_duration_seconds();
                self.limit = limit;
                timed_out(STEPS[FETCH], Some(Clock::Job(limit)))
            }
            (error, _) => broke(FailReason::SourceFailed, error.to_string()),
        })
    }

    /// The credentials that are wanted, in the forms in which they are used. Their values
    /// are kept out of the log before anybody has them.
    fn resolve(
        &mut self,
        playbook: &Playbook,
        wanted: impl Fn(Use) -> bool,
    ) -> Result<Given, Verdict> {
        let uses: Vec<(Use, &str)> = playbook
            .credentials
            .iter()
            .filter(|(it, _)| wanted(*it))
            .collect();
        if uses.is_empty() {
            return Ok(Given::default());
        }
        let mut names: Vec<String> = uses.iter().map(|(_, name)| (*name).to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        let dispatch = &self.inner.dispatch;
        let found = dispatch.credentials(self.work.attempt, names);
        let found = found.map_err(|error| match error {
            ReportError::Fenced => Verdict::Lost,
            ReportError::Unavailable(why) | ReportError::Broken(why) => {
                broke(FailReason::CredentialFailed, why)
            }
        })?;
        for value in found.iter().flat_map(|it| it.values.values()) {
            // What is stored was checked by the redactor when it was saved.
            let _ = self.own.secrets.register(value.reveal().as_bytes());
        }
        let named = |name: &str| found.iter().find(|it: &&Credential| it.name == name);
        let mut given = Given::default();
        for (it, name) in uses {
            let credential = named(name).ok_or_else(|| {
                let why = format!("there is no credential `{name}` any more");
                broke(FailReason::CredentialFailed, why)
            })?;
            given
                .take(it, credential)
                .map_err(|why| broke(FailReason::CredentialFailed, why))?;
        }
        Ok(given)
    }

    /// Writes the run's private files; after this everything belongs to the job's user.
    fn prepare(
        &mut self,
        place: &Place,
        playbook: &Playbook,
        brought: &Brought,
        given: &Given,
    ) -> Result<(Listener, Prepared), Verdict> {
        let private = place.private_file(PRIVATE);
        private_directory(&private)?;
        let none = Credentials::default();
        let key = fold_key();
        let run = Run {
            playbook: &brought.playbook,
            inventories: std::slice::from_ref(&brought.inventory),
            is_plain_inventory: matches!(playbook.inventory, Inventory::Url { .. }),
            installed: brought.installed.as_deref(),
            options: &playbook.options,
            extra_vars: &playbook.extra_vars,
            credentials: given.ansible.as_ref().unwrap_or(&none),
            directory: place.source(),
            home: place.home(),
            fold_key: Some(&key),
        };
        self.said = Some(Said::new(&key));
        let listener = Listener::bind(&private, None).map_err(setup("listen to Ansible"))?;
        let prepared = prepare(&private, None, &run, listener.path());
        let prepared = prepared.map_err(setup("write the files of the run"))?;
        place
            .give()
            .map_err(setup("give the source to the job's user"))?;
        Ok((listener, prepared))
    }

    /// Runs Ansible and hears what it tells.
    fn ansible(&mut self, place: &Place, (listener, prepared): (Listener, Prepared)) -> Verdict {
        if let Some(stop) = self.own.control.stopped() {
            return stopped(stop, None);
        }
        let hears = Hears::new(
            Arc::clone(&self.inner.dispatch),
            self.work.attempt,
            (self.own.secrets.clone(), place.source()),
        )
        .of_commit(self.commit.clone());
        let listening = match listener.listen(hears) {
            Ok(it) => it,
            Err(error) => return setup("listen to Ansible")(error),
        };
        let sandbox = place.sandbox(&self.inner.walls, &self.work.order.task.limits());
        let mut plan = StepPlan::new(Command::Argv(prepared.argv), place.source(), sandbox);
        let own = StepOwn {
            name: STEPS[RUN],
            env: &[],
        };
        plan.env = self.environment(place, RUN, Some(&own));
        plan.env.extend(prepared.env);
        let verdict = self.step(RUN, plan, How::PLAIN);
        let last_words = self.said.take().map(Said::last_words).unwrap_or_default();
        let (progress, plays) = listening.finish().map(Hears::end).unwrap_or_default();
        self.recorder.played(plays);
        match verdict {
            None => succeeded(),
            Some(Verdict::Ended {
                cause: Cause::Failed(FailReason::StepFailed),
                exit_code,
                reason,
            }) => failed(exit_code, &progress, (&last_words, reason)),
            Some(other) => other,
        }
    }

    pub(super) fn say(&mut self, line: &str) {
        let text = format!("{line}\n");
        // A log that takes nothing shows elsewhere.
        let _ = self.output.write(Stream::Stdout, text.as_bytes());
    }
}

/// Why Ansible failed, in a sentence that names task and host where it can.
fn failed(
    exit_code: Option<i32>,
    progress: &Progress,
    (last_words, otherwise): (&[u8], Option<String>),
) -> Verdict {
    let words = String::from_utf8_lossy(last_words);
    let failed = exit_code.and_then(|it| danube_ansible::failed(it, progress, &words));
    let Some(failed) = failed else {
        return Verdict::Ended {
            cause: Cause::Failed(FailReason::StepFailed),
            exit_code,
            reason: otherwise,
        };
    };
    let reason = match failed.why {
        Why::TaskFailed => FailReason::TaskFailed,
        Why::Unreachable => FailReason::HostUnreachable,
        Why::Invalid => FailReason::PlaybookInvalid,
        Why::Vault => FailReason::VaultFailed,
        Why::Other => FailReason::StepFailed,
    };
    Verdict::Ended {
        cause: Cause::Failed(reason),
        exit_code,
        reason: Some(failed.reason),
    }
}

/// The playbook's path below the source, as Ansible is given it.
fn below(fetched: &Fetched) -> String {
    let path = fetched.playbook.strip_prefix(&fetched.root);
    let path = path.unwrap_or(&fetched.playbook);
    path.to_string_lossy().into_owned()
}

pub(super) fn private_directory(path: &Path) -> Result<(), Verdict> {
    let made = DirBuilder::new().mode(0o700).create(path);
    made.map_err(setup("make a directory for the run"))
}

pub(super) fn setup(what: &'static str) -> impl Fn(std::io::Error) -> Verdict {
    move |error| broke(FailReason::SetupFailed, format!("{what}: {error}"))
}
