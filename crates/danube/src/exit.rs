//! The exit codes: what a script may rely on.

use std::process::ExitCode;

use danube_api::Code;
use danube_api::client::ClientError;

/// Declares the codes once: number and what it tells.
macro_rules! exits {
    ($($variant:ident $number:literal $meaning:literal;)+) => {
        /// How a command ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Exit {
            $(#[doc = $meaning] $variant = $number,)+
        }

        impl Exit {
            /// Every code, ascending.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),+];

            /// The number that the shell sees.
            pub(crate) const fn number(self) -> u8 {
                self as u8
            }

            /// What it tells.
            pub(crate) const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),+ }
            }
        }
    };
}

exits! {
    Ok 0 "It worked; with --follow: the job succeeded.";
    Failed 1 "It didn't work, for a reason that none of the others names.";
    Usage 2 "The command line, a setting, a file or the request is wrong; nothing was done.";
    JobFailed 3 "The job that was followed ended otherwise than with success.";
    NotAuthorised 4 "There is no key, it isn't valid, or it may not do this.";
    NotFound 5 "There is no such job, pipeline or key, or you may not see it.";
    Conflict 6 "The state doesn't allow it: the job has ended already, the name is taken, the short id is not unique.";
    Away 7 "The server can't be reached, is too busy or took too long; try again later.";
    Interrupted 130 "Interrupted from the keyboard. A job that was followed goes on.";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

impl Exit {
    /// The code for a call that didn't succeed.
    pub(crate) const fn of(error: &ClientError) -> Self {
        match error {
            ClientError::Problem(problem) => Self::of_code(problem.code),
            ClientError::Away { .. } => Self::Away,
            ClientError::Answer(_) => Self::Failed,
        }
    }

    /// The code for a problem that the server names.
    pub(crate) const fn of_code(code: Code) -> Self {
        match code {
            Code::Invalid => Self::Usage,
            Code::Unauthorized | Code::Forbidden | Code::ProfilingOff => Self::NotAuthorised,
            Code::NotFound | Code::LogGone => Self::NotFound,
            Code::WrongState
            | Code::Ambiguous
            | Code::IdempotencyConflict
            | Code::NameTaken
            | Code::TooManyCredentials
            | Code::TooManySecrets
            | Code::SecretsFull
            | Code::NoBlueprint
            | Code::ProfileBusy => Self::Conflict,
            Code::TooMany
            | Code::QueueFull
            | Code::BlueprintAway
            | Code::Unavailable
            | Code::TooSlow => Self::Away,
            Code::Malformed
            | Code::BlueprintWrong
            | Code::MethodNotAllowed
            | Code::TooLarge
            | Code::UnsupportedMediaType
            | Code::RangeNotSatisfiable
            | Code::Internal
            | Code::NoSpace => Self::Failed,
        }
    }
}

/// The exit code of a command that followed a job to its end. `own`: the job's
/// own code is asked for.
pub(crate) fn of_job(status: &str, exit_code: Option<i32>, own: bool) -> ExitCode {
    if status == "success" {
        return Exit::Ok.into();
    }
    let code = exit_code
        .filter(|_| own)
        .and_then(|it| u8::try_from(it).ok());
    match code {
        // A failed job must not look like success, whatever its last code was.
        Some(code) if code != 0 => ExitCode::from(code),
        _ => Exit::JobFailed.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use danube_api::Problem;

    #[test]
    fn every_problem_has_the_exit_code_that_scripts_expect() {
        let mut seen: Vec<String> = Code::ALL
            .iter()
            .map(|code| {
                let error = ClientError::Problem(Box::new(Problem::new(*code, "x")));
                format!("{} {}", code.as_str(), Exit::of(&error).number())
            })
            .collect();
        seen.sort();
        let expected = [
            "ambiguous 6",
            "blueprint_away 7",
            "blueprint_wrong 1",
            "forbidden 4",
            "idempotency_conflict 6",
            "internal 1",
            "invalid 2",
            "log_gone 5",
            "malformed 1",
            "method_not_allowed 1",
            "name_taken 6",
            "no_blueprint 6",
            "no_space 1",
            "not_found 5",
            "profile_busy 6",
            "profiling_off 4",
            "queue_full 7",
            "range_not_satisfiable 1",
            "secrets_full 6",
            "too_large 1",
            "too_many 7",
            "too_many_credentials 6",
            "too_many_secrets 6",
            "too_slow 7",
            "unauthorized 4",
            "unavailable 7",
            "unsupported_media_type 1",
            "wrong_state 6",
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_server_that_is_away_is_not_a_failure_of_the_request() {
        let away = ClientError::Away {
            server: "http://127.0.0.1:1".into(),
            why: "refused".into(),
        };
        assert_eq!(Exit::of(&away), Exit::Away);
        assert_eq!(Exit::of(&ClientError::Answer("x".into())), Exit::Failed);
    }

    #[test]
    fn a_failed_job_never_looks_like_success() {
        let code = |status, exit_code, own| format!("{:?}", of_job(status, exit_code, own));
        let plain = |number: u8| format!("{:?}", ExitCode::from(number));
        assert_eq!(code("success", Some(0), true), plain(0));
        assert_eq!(code("failure", Some(42), true), plain(42));
        assert_eq!(code("failure", Some(42), false), plain(3));
        assert_eq!(code("timeout", None, true), plain(3));
        assert_eq!(code("cancelled", Some(0), true), plain(3));
        assert_eq!(code("failure", Some(256), true), plain(3));
        assert_eq!(code("failure", Some(-1), true), plain(3));
    }

    #[test]
    fn the_page_of_exit_codes_is_up_to_date() {
        let mut page = String::from(
            "# Exit codes\n\n\
             Generated from the table in `crates/danube/src/exit.rs`.\n\
             `danube explain NUMBER` prints a row.\n\n\
             | code | meaning |\n| --- | --- |\n",
        );
        for exit in Exit::ALL {
            page.push_str(&format!("| {} | {} |\n", exit.number(), exit.meaning()));
        }
        page.push_str(
            "\n`danube run` exits with the job's own code, because it stands in for the command. \
             So do\n`danube submit --follow`, `danube playbook submit --follow`, `danube logs --follow` and\n`danube retry --follow` \
             with `--exit-code`;\nwithout it they exit 3 when the job fails. When whoever reads \
             the output closes it\n(`danube jobs | head -1`), the command ends quietly with 0.\n",
        );
        crate::golden::check("../../docs/exit-codes.md", &page);
    }
}
