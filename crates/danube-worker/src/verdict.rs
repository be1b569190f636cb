//! From how the steps ended to how the job ends. Decides only.

use danube_executor::{End, StepOutcome, Stop};
use danube_model::{Cause, FailReason, StepStatus};
use danube_signals::RunOutcome;

/// Which clock a step runs against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The step's own `timeout_seconds`.
    Step(u64),
    /// What is left of the job's `max_duration_seconds`.
    Job(u64),
}

/// How an attempt ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has ended; report it.
    Ended {
        /// Why.
        cause: Cause,
        /// The exit code that decided.
        exit_code: Option<i32>,
        /// Why, for people; of a stopped job only where it was stopped.
        reason: Option<String>,
    },
    /// The worker leaves: the job goes back.
    HandBack,
    /// Somebody else has the job: report nothing.
    Lost,
}

/// What the attempt's span says of it.
pub(crate) fn told_by_span(verdict: &Verdict) -> RunOutcome {
    let (status, result, error_type) = match verdict {
        Verdict::Ended { cause, .. } => match cause {
            Cause::Succeeded => ("success", "success", None),
            Cause::Failed(reason) => ("failure", "failure", Some(reason.as_str())),
            Cause::TimedOut => ("timeout", "timeout", Some("timeout")),
            _ => ("cancelled", "cancellation", None),
        },
        Verdict::HandBack => ("pending", "cancellation", Some("handed_back")),
        Verdict::Lost => ("pending", "error", Some("lease_lost")),
    };
    RunOutcome {
        status,
        result,
        error_type,
    }
}

/// A step's status and exit code (`128 + n` for signal n, as shells count).
pub(crate) fn step_status(end: End) -> (StepStatus, Option<i32>) {
    match end {
        End::Exit(0) => (StepStatus::Success, Some(0)),
        End::Exit(code) => (StepStatus::Failure, Some(code)),
        End::Signal(signal) => (StepStatus::Failure, Some(128 + signal)),
        End::Stopped(Stop::Timeout) => (StepStatus::Timeout, None),
        End::Stopped(Stop::Cancel | Stop::Drain | Stop::Lost) => (StepStatus::Cancelled, None),
    }
}

/// What a step's end means for the job; `None` when the job goes on.
pub(crate) fn after_step(
    name: &str,
    outcome: &StepOutcome,
    clock: Option<Clock>,
    may_fail: bool,
) -> Option<Verdict> {
    match (outcome.end, clock) {
        (End::Exit(0), _) => None,
        (End::Stopped(stop), clock) => match (stop, clock) {
            (Stop::Timeout, Some(Clock::Step(_))) if may_fail => None,
            (Stop::Timeout, clock) => Some(timed_out(name, clock)),
            (other, _) => Some(stopped(other, Some(name))),
        },
        _ if may_fail => None,
        (End::Exit(code), _) => Some(failed(
            format!("step `{name}` ended with exit code {code}{}", oom(outcome)),
            Some(code),
        )),
        (End::Signal(signal), _) => Some(failed(
            format!(
                "step `{name}` was killed by signal {signal}{}",
                oom(outcome)
            ),
            Some(128 + signal),
        )),
    }
}

/// What a stop between steps means for the job.
pub(crate) fn stopped(stop: Stop, step: Option<&str>) -> Verdict {
    match stop {
        Stop::Cancel => Verdict::Ended {
            cause: Cause::Stopped,
            exit_code: None,
            reason: Some(match step {
                Some(name) => format!("while step `{name}` ran"),
                None => "between two steps".to_owned(),
            }),
        },
        Stop::Timeout => timed_out(step.unwrap_or_default(), None),
        Stop::Drain => Verdict::HandBack,
        Stop::Lost => Verdict::Lost,
    }
}

/// Every step that counts went well.
pub(crate) fn succeeded() -> Verdict {
    Verdict::Ended {
        cause: Cause::Succeeded,
        exit_code: Some(0),
        reason: None,
    }
}

/// The job couldn't be run, for a reason that isn't a step's.
pub(crate) fn broke(reason: FailReason, text: String) -> Verdict {
    Verdict::Ended {
        cause: Cause::Failed(reason),
        exit_code: None,
        reason: Some(text),
    }
}

/// The job's time is up.
pub(crate) fn timed_out(step: &str, clock: Option<Clock>) -> Verdict {
    let reason = match clock {
        Some(Clock::Step(seconds)) => format!("step `{step}` took longer than its {seconds} s"),
        Some(Clock::Job(seconds)) => {
            format!("the job took longer than its {seconds} s; step `{step}` was stopped")
        }
        None => "the job's time was up".to_owned(),
    };
    Verdict::Ended {
        cause: Cause::TimedOut,
        exit_code: None,
        reason: Some(reason),
    }
}

fn failed(reason: String, exit_code: Option<i32>) -> Verdict {
    Verdict::Ended {
        cause: Cause::Failed(FailReason::StepFailed),
        exit_code,
        reason: Some(reason),
    }
}

fn oom(outcome: &StepOutcome) -> &'static str {
    if outcome.oom_killed {
        ": it used more memory than it may"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn outcome(end: End) -> StepOutcome {
        StepOutcome {
            end,
            cpu: Duration::ZERO,
            max_rss_bytes: 0,
            wall: Duration::ZERO,
            oom_killed: false,
            processes_killed: 0,
        }
    }

    /// The cause's name, or `goes on`.
    fn check(end: End, clock: Option<Clock>, may_fail: bool, expected: &str) {
        let found = match after_step("s", &outcome(end), clock, may_fail) {
            None => "goes on",
            Some(Verdict::Ended { cause, .. }) => cause.as_str(),
            Some(Verdict::HandBack) => "hand back",
            Some(Verdict::Lost) => "lost",
        };
        assert_eq!(found, expected, "{end:?} {clock:?} {may_fail}");
    }

    #[test]
    fn a_span_says_how_a_run_ended_and_marks_what_went_wrong() {
        let ended = |cause| Verdict::Ended {
            cause,
            exit_code: None,
            reason: None,
        };
        for (verdict, expected) in [
            (succeeded(), ("success", "success", None)),
            (
                broke(FailReason::LogFailed, String::new()),
                ("failure", "failure", Some("log_failed")),
            ),
            (
                ended(Cause::TimedOut),
                ("timeout", "timeout", Some("timeout")),
            ),
            (ended(Cause::Stopped), ("cancelled", "cancellation", None)),
            (
                Verdict::HandBack,
                ("pending", "cancellation", Some("handed_back")),
            ),
            (Verdict::Lost, ("pending", "error", Some("lease_lost"))),
        ] {
            let told = told_by_span(&verdict);
            let told = (told.status, told.result, told.error_type);
            assert_eq!(told, expected, "{verdict:?}");
        }
    }

    #[test]
    fn each_end_of_a_step_has_its_meaning() {
        let (step, job) = (Some(Clock::Step(1)), Some(Clock::Job(9)));
        check(End::Exit(0), job, false, "goes on");
        check(End::Exit(3), job, false, "failed");
        check(End::Exit(3), job, true, "goes on");
        check(End::Signal(9), job, false, "failed");
        check(End::Stopped(Stop::Timeout), step, false, "timed_out");
        check(End::Stopped(Stop::Timeout), step, true, "goes on");
        check(End::Stopped(Stop::Timeout), job, true, "timed_out");
        check(End::Stopped(Stop::Cancel), job, true, "stopped");
        check(End::Stopped(Stop::Drain), job, true, "hand back");
        check(End::Stopped(Stop::Lost), job, true, "lost");
    }

    #[test]
    fn a_signal_counts_as_shells_count() {
        assert_eq!(
            step_status(End::Signal(9)),
            (StepStatus::Failure, Some(137))
        );
    }
}
