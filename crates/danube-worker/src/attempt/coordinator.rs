//! A pipeline's own program as coordinator: while it runs as a step, it has others run.
//!
//! All of it is done by the job's own thread. It watches the program; when a call comes, it
//! first takes what the program wrote before, runs the step to its end, and watches on. So
//! the log holds one after the other, and what the program writes meanwhile waits in its
//! pipes. A program that ends takes the step that it asked for with it.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use danube_executor::{Command, Output, Shell, StepPlan, Stream};
use danube_model::coordinator::{
    Call, CallAnswer, CallCommand, CallRefusal, Reported, StatusCall, StepAnswer, StepCall,
};
use danube_model::limits::{CAPTURE_BYTES_MAX, STEPS_MAX};
use danube_model::spec::{self, Pipeline};
use danube_model::{Cause, FailReason, Step};
use zeroize::Zeroizing;

use super::{How, Running, Way, number};
use crate::calls::Calls;
use crate::environment::StepOwn;
use crate::output::LogOutput;
use crate::place::Place;
use crate::tools::{self, Tools};
use crate::verdict::Verdict;

/// Where a coordinator is served.
pub(super) struct Served<'p> {
    pub(super) place: &'p Place,
    pub(super) pipeline: &'p Pipeline,
    pub(super) calls: Arc<Calls>,
    pub(super) tools: &'p Tools,
}

/// The output of a coordinator, and its calls.
pub(super) struct Serves<'r, 'a> {
    pub(super) running: &'r mut Running<'a>,
    pub(super) served: &'r Served<'r>,
}

impl Output for Serves<'_, '_> {
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        self.running.output.write(stream, bytes)
    }

    fn deadline(&self) -> Option<Instant> {
        self.running.output.deadline()
    }

    fn tick(&mut self) -> io::Result<()> {
        self.running.output.tick()
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.served.calls.awake())
    }

    fn woken(&mut self, step: BorrowedFd<'_>) -> io::Result<()> {
        // One, so that its watch sees in between how the program does.
        if let Some(call) = self.served.calls.next() {
            let id = call.request_id().to_owned();
            let answer = match call {
                Call::Step(call) => self.running.called_step(self.served, &call, step),
                Call::Status(status) => self.running.reported(status),
            };
            self.served.calls.answer(&id, &answer);
        }
        Ok(())
    }
}

/// What a coordinator is given of a step's standard output, as it was written: it is the
/// job's own, as what a shell puts into a variable is.
#[derive(Default)]
pub(super) struct Captured {
    bytes: Zeroizing<Vec<u8>>,
    is_wanted: bool,
    truncated: bool,
}

/// The output of a called step.
pub(super) struct Called<'o, 'p> {
    pub(super) output: &'o mut LogOutput,
    pub(super) captured: &'o mut Captured,
    /// Readable when its coordinator has ended.
    pub(super) coordinator: BorrowedFd<'p>,
}

impl Output for Called<'_, '_> {
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        if stream == Stream::Stdout && self.captured.is_wanted {
            let captured = &mut *self.captured;
            let room = CAPTURE_BYTES_MAX - captured.bytes.len();
            captured.bytes.extend(&bytes[..bytes.len().min(room)]);
            captured.truncated |= bytes.len() > room;
        }
        self.output.write(stream, bytes)
    }

    fn deadline(&self) -> Option<Instant> {
        self.output.deadline()
    }

    fn tick(&mut self) -> io::Result<()> {
        self.output.tick()
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.coordinator)
    }

    fn woken(&mut self, _step: BorrowedFd<'_>) -> io::Result<()> {
        Err(io::Error::other(
            "the coordinator that asked for it has ended",
        ))
    }
}

impl Running<'_> {
    /// Runs a step that the coordinator asked for.
    fn called_step(
        &mut self,
        served: &Served<'_>,
        call: &StepCall,
        coordinator: BorrowedFd<'_>,
    ) -> CallAnswer {
        if self.steps.len() >= STEPS_MAX {
            return CallAnswer::Refused(CallRefusal::TooManySteps);
        }
        if self.steps.iter().any(|it| it.name == call.name) {
            return CallAnswer::Refused(CallRefusal::NameTaken);
        }
        for value in call.secrets.values() {
            // What is stored was checked by the redactor when it was saved.
            let _ = self.own.secrets.register(value.as_bytes());
        }
        let index = self.steps.len();
        self.steps.push(Step::pending(&call.name));
        let plan = self.called_plan(served, call, index);
        let mut captured = Captured {
            is_wanted: call.capture,
            ..Captured::default()
        };
        let of_coordinator = (self.limit, self.began);
        let how = How {
            timeout_seconds: call.timeout_seconds,
            may_fail: true,
            way: Way::Called {
                captured: &mut captured,
                coordinator,
            },
        };
        // The coordinator decides what it means; a stop of the job it sees itself.
        let _ = self.step(index, plan, how);
        (self.limit, self.began) = of_coordinator;
        let step = &self.steps[index];
        CallAnswer::Step(StepAnswer {
            index: number(index),
            status: step.status,
            exit_code: step.exit_code,
            output: call.capture.then(|| STANDARD.encode(&*captured.bytes)),
            truncated: captured.truncated,
        })
    }

    fn called_plan(&self, served: &Served<'_>, call: &StepCall, index: usize) -> StepPlan {
        let Served {
            place, pipeline, ..
        } = *served;
        let command = match &call.command {
            CallCommand::Argv(words) => Command::Argv(words.iter().map(Into::into).collect()),
            CallCommand::Script(text, shell) => Command::Script {
                text: text.clone(),
                shell: match shell.unwrap_or(pipeline.shell) {
                    spec::Shell::Sh => Shell::Sh,
                    spec::Shell::Bash => Shell::Bash,
                },
            },
        };
        let mut sandbox = place.sandbox(&self.inner.walls, &pipeline.limits);
        tools::show(&mut sandbox);
        let mut plan = StepPlan::new(command, place.source(), sandbox);
        let own = StepOwn {
            name: &call.name,
            env: &[&pipeline.env, &call.env, &call.secrets],
        };
        let token = self.own.token.of_steps();
        plan.env = self.environment_with((place, index), Some(&own), (&token, Some(served.tools)));
        plan
    }

    /// Notes what the coordinator says of itself.
    fn reported(&mut self, status: StatusCall) -> CallAnswer {
        let StatusCall {
            status, message, ..
        } = status;
        let word = match status {
            Reported::Running => "status",
            Reported::Success => "success",
            Reported::Failure => "failure",
        };
        // One line, whatever it holds; as any output, it is redacted on its way.
        let line: String = message.escape_debug().collect();
        self.say(&format!("danube: {word}: {line}"));
        self.reported = (status == Reported::Failure).then_some(message);
        CallAnswer::Noted
    }

    /// How the coordinator's end is to be taken, after what it said of itself.
    pub(super) fn as_reported(&mut self, verdict: Option<Verdict>) -> Option<Verdict> {
        let Some(message) = self.reported.take() else {
            return verdict;
        };
        let exit_code = match verdict {
            None => None,
            Some(Verdict::Ended {
                cause: Cause::Failed(FailReason::StepFailed),
                exit_code,
                ..
            }) => exit_code,
            other => return other,
        };
        Some(Verdict::Ended {
            cause: Cause::Failed(FailReason::StepFailed),
            exit_code,
            reason: Some(message),
        })
    }
}
