//! Tells how an attempt ended, until that is heard.

use std::thread;

use danube_joblog::Summary;
use danube_model::{Attempt, Ended, FailReason, Step};
use danube_redact::{Rules, Secrets};

use crate::dispatch::{Dispatch, ReportError};
use crate::verdict::{Verdict, broke};
use crate::worker::REPORT_RETRY_EVERY;

/// Reports that a broken store is sent before the lease is left to lapse.
const BROKEN_REPORTS_MAX: u32 = 3;

/// What there is to report.
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) steps: Vec<Step>,
    /// The limit that ended it.
    pub(crate) timeout: Option<u64>,
    /// None when the log couldn't be opened or closed.
    pub(crate) summary: Option<Summary>,
}

/// Ends the job of a thread that broke.
pub(crate) fn report_panic(dispatch: &dyn Dispatch, attempt: Attempt) {
    let outcome = Outcome {
        verdict: broke(
            FailReason::SetupFailed,
            "the worker failed; its log says how".to_owned(),
        ),
        steps: Vec::new(),
        timeout: None,
        summary: None,
    };
    report(dispatch, attempt, outcome, &Secrets::new(Rules::none()));
}

/// Reports until it is heard: a store that is away comes back, or the process
/// ends and the lease with it. Whether the report was taken.
pub(crate) fn report(
    dispatch: &dyn Dispatch,
    attempt: Attempt,
    outcome: Outcome,
    secrets: &Secrets,
) -> bool {
    let Outcome {
        verdict,
        steps,
        timeout,
        summary,
    } = outcome;
    let told = |send: &dyn Fn() -> Result<(), ReportError>| {
        let mut broken = 0;
        loop {
            match send() {
                Err(ReportError::Unavailable(_)) => {}
                // The lease lapses then, and the job is rescued.
                Err(ReportError::Broken(_)) if broken < BROKEN_REPORTS_MAX => broken += 1,
                Ok(()) => return true,
                Err(ReportError::Broken(_) | ReportError::Fenced) => return false,
            }
            thread::sleep(REPORT_RETRY_EVERY);
        }
    };
    match verdict {
        Verdict::Lost => false,
        Verdict::HandBack => {
            let may_have_run = steps.iter().any(|it| it.started_at.is_some());
            told(&|| dispatch.hand_back(attempt, "the worker was stopped", may_have_run))
        }
        Verdict::Ended {
            cause,
            exit_code,
            reason,
        } => {
            let ended = Ended {
                cause,
                exit_code,
                reason: reason.map(|text| secrets.redact(&text)),
                timeout_seconds: timeout,
                steps,
                log_bytes: summary.map_or(0, |it| it.bytes),
                log_complete: summary.is_some_and(|it| it.complete),
                log_missing_bytes: summary.map_or(0, |it| it.missing_bytes),
            };
            told(&|| dispatch.finish(attempt, &ended))
        }
    }
}
