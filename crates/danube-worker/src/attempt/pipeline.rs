//! The work of a pipeline's job: its source, then its steps.

use std::collections::{BTreeMap, BTreeSet};

use danube_executor::{Command, Shell, StepPlan};
use danube_model::spec::{self, Pipeline};
use danube_model::{Cause, FailReason, StepStatus};

use super::coordinator::Served;
use super::leave::Wanted;
use super::{How, Running, Way};
use crate::dispatch::ReportError;
use crate::environment::StepOwn;
use crate::place::Place;
use crate::source;
use crate::tools::{self, Tools};
use crate::verdict::{Verdict, broke, stopped, succeeded};

/// The names of the steps, the clone included.
pub(super) fn step_names(pipeline: &Pipeline) -> Vec<String> {
    let own = pipeline.steps.iter().map(|it| it.name.clone());
    let clone = pipeline.repository.as_ref().map(|_| {
        source::step_name(|name| pipeline.steps.iter().any(|it| it.name == name)).to_owned()
    });
    clone.into_iter().chain(own).collect()
}

impl Running<'_> {
    /// Clones the source, if there is one, and runs the steps one by one.
    pub(super) fn run_pipeline(&mut self, place: &Place, pipeline: &Pipeline) -> Verdict {
        let mut index = 0;
        if let Some(repository) = &pipeline.repository {
            if let Some(verdict) = self.clone_source(place, repository) {
                return verdict;
            }
            index = 1;
        }
        let _served = match self.open_socket(place) {
            Ok(served) => served,
            Err(error) => {
                let why = format!("open the socket by which the job calls the server: {error}");
                return broke(FailReason::SetupFailed, why);
            }
        };
        for step in &pipeline.steps {
            if let Some(stop) = self.own.control.stopped() {
                return stopped(stop, None);
            }
            if let Some(verdict) = self.one_step(place, index, (pipeline, step)) {
                return verdict;
            }
            index += 1;
        }
        succeeded()
    }

    fn clone_source(&mut self, place: &Place, repository: &str) -> Option<Verdict> {
        if source::has_moved(repository) {
            let why = "the repository's path has become a link since the job was submitted";
            return Some(broke(FailReason::SourceFailed, why.to_owned()));
        }
        let sandbox = place.source_sandbox(&self.inner.walls, repository);
        let mut plan = StepPlan::new(source::command(), place.source(), sandbox);
        plan.env = self.environment(place, 0, None);
        // The worker's own home, not the job's: ssh keys and git settings.
        let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
        match source::variables(
            repository,
            (self.work.order.git_ref.as_deref(), self.work.order.commit()),
            &home,
            &place.private_file("gitconfig"),
        ) {
            Ok(variables) => plan.env.extend(variables),
            Err(error) => {
                return Some(broke(
                    FailReason::SetupFailed,
                    format!("write git settings: {error}"),
                ));
            }
        }
        let verdict = self.step(0, plan, How::PLAIN);
        self.commit = source::commit(place.source());
        match verdict {
            Some(Verdict::Ended {
                cause: Cause::Failed(FailReason::StepFailed),
                exit_code,
                ..
            }) => Some(Verdict::Ended {
                cause: Cause::Failed(FailReason::SourceFailed),
                exit_code,
                reason: Some("the source couldn't be cloned; the log says why".to_owned()),
            }),
            None => place.give().err().map(|error| {
                broke(
                    FailReason::SetupFailed,
                    format!("give the source to the job's user: {error}"),
                )
            }),
            other => other,
        }
    }

    fn one_step(
        &mut self,
        place: &Place,
        index: usize,
        (pipeline, step): (&Pipeline, &spec::Step),
    ) -> Option<Verdict> {
        let secrets = match self.secrets(&step.secrets) {
            Ok(it) => it,
            Err(verdict) => return Some(self.never_begun(index, verdict)),
        };
        let shell = match step.shell.unwrap_or(pipeline.shell) {
            spec::Shell::Sh => Shell::Sh,
            spec::Shell::Bash => Shell::Bash,
        };
        let command = Command::Script {
            text: step.run.clone(),
            shell,
        };
        let sandbox = place.sandbox(&self.inner.walls, &pipeline.limits);
        let mut plan = StepPlan::new(command, place.source(), sandbox);
        let own = StepOwn {
            name: &step.name,
            env: &[&pipeline.env, &step.env, &secrets],
        };
        self.wanted = Wanted::of(step, place.source());
        let how = How {
            timeout_seconds: step.timeout_seconds,
            may_fail: step.continue_on_error,
            way: Way::Plain,
        };
        let calls = self.own.calls.clone().filter(|_| step.coordinates);
        let Some(calls) = calls else {
            plan.env = self.environment(place, index, Some(&own));
            return self.step(index, plan, how);
        };
        let tools = match Tools::make(place.home()) {
            Ok(tools) => tools,
            Err(error) => {
                let why = format!("make what the coordinator calls with: {error}");
                return Some(self.never_begun(index, broke(FailReason::SetupFailed, why)));
            }
        };
        tools::show(&mut plan.sandbox);
        let token = &self.own.token;
        plan.env = self.environment_with((place, index), Some(&own), (token, Some(&tools)));
        let served = Served {
            place,
            pipeline,
            calls,
            tools: &tools,
        };
        let way = Way::Serves(&served);
        let verdict = self.step(index, plan, How { way, ..how });
        served.calls.close();
        self.as_reported(verdict)
    }

    /// Variables with the secrets that a step asked for. Their values are kept out of the
    /// log before anybody has them.
    fn secrets(
        &mut self,
        asked: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Verdict> {
        if asked.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names: BTreeSet<String> = asked.values().cloned().collect();
        let dispatch = &self.inner.dispatch;
        let given = dispatch.secrets(self.work.attempt, names.into_iter().collect());
        let given = given.map_err(|error| match error {
            ReportError::Fenced => Verdict::Lost,
            ReportError::Unavailable(why) | ReportError::Broken(why) => {
                broke(FailReason::CredentialFailed, why)
            }
        })?;
        for (_, value) in &given {
            // What is stored was checked by the redactor when it was saved.
            let _ = self.own.secrets.register(value.reveal().as_bytes());
        }
        let value = |name: &String| {
            let found = given.iter().find(|(it, _)| it == name);
            found.map(|(_, value)| value.reveal().to_owned())
        };
        let pairs = asked.iter().map(|(variable, name)| {
            let value = value(name).ok_or_else(|| {
                let why = format!("the secret `{name}` wasn't given");
                broke(FailReason::CredentialFailed, why)
            })?;
            Ok((variable.clone(), value))
        });
        pairs.collect()
    }

    /// A step whose process couldn't be made ready; the log says why.
    fn never_begun(&mut self, index: usize, verdict: Verdict) -> Verdict {
        if let Verdict::Ended { reason, .. } = &verdict {
            self.step_begins(index);
            if let Some(reason) = reason {
                self.say(&format!("danube: {reason}"));
            }
            self.step_ends(index, StepStatus::Failure, None);
        }
        verdict
    }
}
