//! The one table of moves: which state may follow which cause.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Kind;

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Accepted and durable; waits for a worker.
    Pending,
    /// A worker holds the lease and prepares the workspace.
    Scheduling,
    /// Its steps run.
    Running,
    /// Every step that counts ended with exit code 0.
    Success,
    /// A step failed, or the job couldn't be run; the reason says which.
    Failure,
    /// Stopped because its time was up.
    Timeout,
    /// Stopped because somebody asked.
    Cancelled,
}

impl State {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Scheduling,
        Self::Running,
        Self::Success,
        Self::Failure,
        Self::Timeout,
        Self::Cancelled,
    ];

    /// The name on the wire and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Scheduling => "scheduling",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with this name. `failed` is what playbook clients call `failure`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "failed" {
            return Some(Self::Failure);
        }
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// The name that clients of a job of this kind are shown: playbooks fail as `failed`,
    /// as their document says.
    #[must_use]
    pub const fn shown(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::Failure, Kind::Playbook) => "failed",
            _ => self.as_str(),
        }
    }

    /// Whether the job has ended. A terminal state never changes.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Success | Self::Failure | Self::Timeout | Self::Cancelled
        )
    }

    /// Whether a worker holds the job.
    #[must_use]
    pub const fn is_leased(self) -> bool {
        matches!(self, Self::Scheduling | Self::Running)
    }

    /// The state that follows this one for `cause`.
    ///
    /// # Errors
    /// [`Refused`] for every pair that isn't in the table.
    pub fn after(self, cause: &Cause) -> Result<Self, Refused> {
        use State::{Cancelled, Failure, Pending, Running, Scheduling, Success, Timeout};
        match (self, cause) {
            (Pending, Cause::Claimed) => Ok(Scheduling),
            (Scheduling, Cause::Started) => Ok(Running),
            (Running, Cause::Succeeded) => Ok(Success),
            (Scheduling | Running, Cause::Failed(_)) => Ok(Failure),
            (Scheduling | Running, Cause::TimedOut) => Ok(Timeout),
            (Pending, Cause::CancelAsked) => Ok(Cancelled),
            (Scheduling | Running, Cause::Stopped) => Ok(Cancelled),
            (Scheduling | Running, Cause::HandedBack) => Ok(Pending),
            (
                Scheduling | Running,
                Cause::LeaseLost {
                    cancel_asked: true, ..
                },
            ) => Ok(Cancelled),
            (
                Scheduling | Running,
                Cause::LeaseLost {
                    attempts_left: 0, ..
                },
            ) => Ok(Failure),
            (Scheduling | Running, Cause::LeaseLost { .. }) => Ok(Pending),
            (state, cause) => Err(Refused {
                state,
                cause: cause.as_str(),
            }),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Why a job moves. The history of every job is a list of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A worker took the lease.
    Claimed,
    /// The worker has made the workspace; the first step begins.
    Started,
    /// All steps ended well.
    Succeeded,
    /// It ended badly, or couldn't be run at all.
    Failed(FailReason),
    /// `max_duration_seconds` was up.
    TimedOut,
    /// Somebody asked to cancel a job that no worker holds.
    CancelAsked,
    /// The worker stopped the job because somebody asked.
    Stopped,
    /// A worker that drains returned it unfinished. Costs no attempt.
    HandedBack,
    /// The worker fell silent past its lease, or died with the master.
    LeaseLost {
        /// Attempts that remain after the lost one.
        attempts_left: u32,
        /// Somebody had asked to cancel meanwhile.
        cancel_asked: bool,
    },
}

impl Cause {
    /// The name in history and events.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed(_) => "failed",
            Self::TimedOut => "timed_out",
            Self::CancelAsked => "cancel_asked",
            Self::Stopped => "stopped",
            Self::HandedBack => "handed_back",
            Self::LeaseLost { .. } => "lease_lost",
        }
    }
}

/// Why a job is a failure: the kind for machines, shown as `error_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailReason {
    /// A step ended with another exit code than 0, or by a signal.
    StepFailed,
    /// The source couldn't be cloned.
    SourceFailed,
    /// The workspace or the sandbox couldn't be made.
    SetupFailed,
    /// The log couldn't be written.
    LogFailed,
    /// Its worker was lost on every attempt.
    WorkerLost,
    /// A task of the playbook failed on a host.
    TaskFailed,
    /// A host of the playbook couldn't be reached.
    HostUnreachable,
    /// Ansible can't read the playbook or the inventory, or no host matches.
    PlaybookInvalid,
    /// A password of Ansible's vault is missing or wrong.
    VaultFailed,
    /// A credential isn't there any more, or can't be used.
    CredentialFailed,
    /// A file that a step names in `artifacts` couldn't be kept.
    ArtifactFailed,
}

impl FailReason {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::StepFailed,
        Self::SourceFailed,
        Self::SetupFailed,
        Self::LogFailed,
        Self::WorkerLost,
        Self::TaskFailed,
        Self::HostUnreachable,
        Self::PlaybookInvalid,
        Self::VaultFailed,
        Self::CredentialFailed,
        Self::ArtifactFailed,
    ];

    /// The name in events and history.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StepFailed => "step_failed",
            Self::SourceFailed => "source_failed",
            Self::SetupFailed => "setup_failed",
            Self::LogFailed => "log_failed",
            Self::WorkerLost => "worker_lost",
            Self::TaskFailed => "task_failed",
            Self::HostUnreachable => "host_unreachable",
            Self::PlaybookInvalid => "playbook_invalid",
            Self::VaultFailed => "vault_failed",
            Self::CredentialFailed => "credential_failed",
            Self::ArtifactFailed => "artifact_failed",
        }
    }
}

/// The move isn't in the table; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {state} job can't be {cause}")]
pub struct Refused {
    /// Where the job is.
    pub state: State,
    /// The cause that was refused.
    pub cause: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: State, causes: &[Cause], expected: State) {
        let end = causes.iter().try_fold(from, State::after);
        assert_eq!(end, Ok(expected), "{from} by {causes:?}");
    }

    const LAST_ATTEMPT: Cause = Cause::LeaseLost {
        attempts_left: 0,
        cancel_asked: false,
    };
    const LOST: Cause = Cause::LeaseLost {
        attempts_left: 1,
        cancel_asked: false,
    };

    #[test]
    fn a_job_that_goes_well() {
        check(
            State::Pending,
            &[Cause::Claimed, Cause::Started, Cause::Succeeded],
            State::Success,
        );
    }

    #[test]
    fn a_lost_worker_gives_the_job_back_until_the_last_attempt() {
        check(
            State::Pending,
            &[
                Cause::Claimed,
                Cause::Started,
                LOST,
                Cause::Claimed,
                LAST_ATTEMPT,
            ],
            State::Failure,
        );
    }

    #[test]
    fn a_lost_worker_ends_a_job_that_was_to_be_cancelled() {
        let lost = Cause::LeaseLost {
            attempts_left: 2,
            cancel_asked: true,
        };
        check(State::Running, &[lost], State::Cancelled);
    }

    #[test]
    fn a_draining_worker_returns_the_job() {
        check(
            State::Running,
            &[Cause::HandedBack, Cause::Claimed],
            State::Scheduling,
        );
    }

    #[test]
    fn a_terminal_state_never_changes() {
        let causes = [
            Cause::Claimed,
            Cause::Started,
            Cause::Succeeded,
            Cause::Failed(FailReason::StepFailed),
            Cause::TimedOut,
            Cause::CancelAsked,
            Cause::Stopped,
            Cause::HandedBack,
            LOST,
        ];
        for state in State::ALL.into_iter().filter(|it| State::is_terminal(*it)) {
            for cause in &causes {
                assert!(state.after(cause).is_err(), "{state} by {cause:?}");
            }
        }
    }

    #[test]
    fn a_pending_job_is_run_by_nobody() {
        for cause in [
            Cause::Started,
            Cause::Succeeded,
            Cause::TimedOut,
            Cause::Stopped,
            LOST,
        ] {
            assert!(State::Pending.after(&cause).is_err(), "{cause:?}");
        }
    }

    #[test]
    fn names_survive_their_text() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("failed"), Some(State::Failure));
        assert_eq!(State::parse("Success"), None);
    }
}
