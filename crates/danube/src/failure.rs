//! Why a command didn't do what it was asked, told to a person or to a script.

use std::io;
use std::process::ExitCode;

use danube_api::client::ClientError;
use danube_api::{Code, FieldProblem};
use danube_model::Mistakes;
use serde_json::json;

use crate::exit::Exit;
use crate::terminal::{Format, Screen, clean, mistakes};

/// A failure that has not been told yet.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// Stable; scripts branch on it.
    code: &'static str,
    message: String,
    hint: Option<String>,
    details: Details,
}

/// What there is to say beyond one sentence.
#[derive(Debug)]
enum Details {
    None,
    /// Mistakes in files, flags and variables.
    Mistakes(Vec<Mistakes>),
    /// Mistakes that the server found in the request.
    Fields(Vec<FieldProblem>),
    /// Nobody reads our output any more; there is nothing to tell.
    NobodyListens,
}

impl Failure {
    /// A failure with a stable code. `message` is lower case, without full stop.
    pub(crate) fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code,
            message: message.into(),
            hint: None,
            details: Details::None,
        }
    }

    /// The command line or something that it names is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// The same with a line that says what to do.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Everything that is wrong in what a person wrote.
    pub(crate) fn mistakes(exit: Exit, message: impl Into<String>, list: Vec<Mistakes>) -> Self {
        Self {
            details: Details::Mistakes(list),
            ..Self::new(exit, "mistakes", message)
        }
    }

    /// A call that didn't succeed; `doing` is a verb phrase.
    pub(crate) fn call(doing: &str, error: &ClientError) -> Self {
        let exit = Exit::of(error);
        let message = format!("{doing}: {error}");
        match error {
            ClientError::Problem(problem) => Self {
                hint: Some(hint_for(problem.code).to_owned()),
                details: Details::Fields(problem.errors.clone()),
                ..Self::new(exit, problem.code.as_str(), message)
            },
            ClientError::Away { .. } => Self::new(exit, "away", message)
                .hint("is the server running? `danube health` asks it; --server and DANUBE_SERVER name another"),
            ClientError::Answer(_) => Self::new(exit, "answer", message)
                .hint("does the address belong to a Danube server of about this version?"),
        }
    }

    /// Writing to standard output didn't work.
    pub(crate) fn output(error: &io::Error) -> Self {
        let failure = Self::new(
            Exit::Failed,
            "output",
            format!("write to standard output: {error}"),
        );
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                exit: Exit::Ok,
                details: Details::NobodyListens,
                ..failure
            };
        }
        failure
    }

    /// Says it on standard error, and the exit code that goes with it.
    pub(crate) fn tell(&self, screen: &Screen) -> ExitCode {
        if !matches!(self.details, Details::NobodyListens) {
            screen.error(&match screen.format {
                Format::Json => format!("{}\n", self.as_json()),
                Format::Text => self.as_text(screen),
            });
        }
        self.exit.into()
    }

    fn as_text(&self, screen: &Screen) -> String {
        let mut text = format!(
            "{} {}\n",
            screen.paint_error("error:"),
            clean(&self.message)
        );
        match &self.details {
            Details::None | Details::NobodyListens => {}
            Details::Fields(list) => {
                for field in list {
                    let (pointer, message) = (clean(&field.pointer), clean(&field.message));
                    text.push_str(&format!("  {pointer}: {message}\n"));
                }
            }
            Details::Mistakes(list) => {
                for one in list {
                    text.push_str(&mistakes::as_text(one, screen));
                }
            }
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("{} {}\n", screen.paint_hint("hint:"), clean(hint)));
        }
        text
    }

    fn as_json(&self) -> serde_json::Value {
        let mut error = json!({
            "code": self.code,
            "message": self.message,
            "exit_code": self.exit.number(),
        });
        if let Some(hint) = &self.hint {
            error["hint"] = json!(hint);
        }
        match &self.details {
            Details::Fields(list) if !list.is_empty() => error["errors"] = json!(list),
            Details::Mistakes(list) => {
                let all: Vec<_> = list.iter().flat_map(mistakes::as_json).collect();
                error["mistakes"] = json!(all);
            }
            _ => {}
        }
        json!({ "error": error })
    }
}

/// What somebody at a command line can do. The codes' own help speaks to
/// somebody who writes requests.
const fn hint_for(code: Code) -> &'static str {
    match code {
        Code::Unauthorized => {
            "set DANUBE_API_KEY or give --key-file; the first key stands in admin.key in the server's data directory"
        }
        Code::Forbidden => {
            "use a key with a role that may: viewer reads, member submits and cancels, admin manages keys"
        }
        Code::NotFound => {
            "`danube jobs`, `danube apikey list` and `danube credential list` show what there is"
        }
        Code::ProfilingOff => {
            "set observability.profiling = \"on\" on the server, or --profiling on"
        }
        Code::NoBlueprint => "set blueprint.url on the server, or start it with --blueprint-url",
        Code::BlueprintWrong => {
            "correct what is listed and push it; `danube blueprint check DIR` finds it before"
        }
        Code::BlueprintAway => {
            "look at blueprint.url, blueprint.branch and blueprint.credential of the server"
        }
        Code::ProfileBusy => "try again when that one is done, within a minute",
        Code::LogGone => "`danube job ID` still shows the job; only its log is gone",
        Code::WrongState => {
            "`danube job ID` shows its state: an ended job can't be cancelled, and only an ended one can be retried"
        }
        Code::Ambiguous => "use the full id",
        Code::IdempotencyConflict => {
            "use another --idempotency-key: this one belongs to another request"
        }
        Code::NameTaken => "choose another name, or free the one that is taken",
        Code::TooManySecrets => "the latest secret that you were shown signs; use that one",
        Code::TooManyCredentials => {
            "`danube credential list` tells when each was last used; delete one that nobody needs"
        }
        Code::SecretsFull => {
            "`danube secret list` tells when each was last used; delete one that nobody needs"
        }
        Code::Invalid => "correct everything that is listed; nothing was changed",
        Code::TooLarge => "send less, or raise `server.body_bytes_max` on the server",
        Code::TooMany => "wait a little and try again",
        Code::QueueFull => {
            "try again when some jobs have begun; `danube jobs --status pending` lists those that wait"
        }
        Code::Unavailable => "try again; `danube health` says what is missing",
        Code::TooSlow => "try again; a submit with the same --idempotency-key",
        Code::NoSpace => "free space below the server's data directory; nothing was changed",
        Code::Internal => "the server's log tells more",
        Code::Malformed | Code::MethodNotAllowed | Code::UnsupportedMediaType => {
            "client and server may be of different versions; `danube version` shows this one"
        }
        Code::RangeNotSatisfiable => "ask within the size of the log; `danube job ID` shows it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use danube_api::Problem;

    #[test]
    fn a_script_gets_one_object_with_code_and_exit_code() {
        let problem = Problem::new(Code::NotFound, "there is no job `x`");
        let failure = Failure::call("read job x", &ClientError::Problem(Box::new(problem)));
        assert_eq!(
            failure.as_json(),
            json!({"error": {
                "code": "not_found",
                "message": "read job x: there is no job `x`",
                "exit_code": 5,
                "hint": "`danube jobs`, `danube apikey list` and `danube credential list` show what there is",
            }})
        );
    }

    #[test]
    fn what_a_server_says_can_not_steer_the_terminal() {
        let problem = Problem::new(Code::NotFound, "no\u{1b}]0;owned\u{7} job\r\n");
        let failure = Failure::call("read job", &ClientError::Problem(Box::new(problem)));
        let text = failure.as_text(&Screen::plain());
        assert!(!text.contains(['\u{1b}', '\u{7}', '\r']), "{text:?}");
        assert!(text.contains("no\u{fffd}]0;owned"), "{text:?}");
    }

    #[test]
    fn a_reader_who_leaves_is_no_failure() {
        let failure = Failure::output(&io::ErrorKind::BrokenPipe.into());
        assert_eq!(failure.exit, Exit::Ok);
        assert_eq!(
            Failure::output(&io::ErrorKind::StorageFull.into()).exit,
            Exit::Failed
        );
    }
}
