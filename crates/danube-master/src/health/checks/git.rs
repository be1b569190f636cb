//! Sources can be fetched: `git` is there and runs.

use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use danube_signals::Check;

use super::super::check::{Answer, HealthCheck};

/// How long `git --version` may take.
const DEADLINE: Duration = Duration::from_secs(10);

pub(super) fn check(interval: Duration) -> HealthCheck {
    HealthCheck {
        name: Check::Git,
        period: interval,
        deadline: DEADLINE,
        gates: false,
        run: Box::new(look),
        heal: None,
    }
}

fn look() -> Answer {
    let asked = Command::new("git")
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    match asked {
        Ok(output) if output.status.success() => Answer::ok(),
        Ok(output) => Answer::degraded(format!("git --version: {}; mend it", output.status)),
        Err(error) => Answer::degraded(format!(
            "git can't be run: {error}; install it, or jobs with a repository fail"
        )),
    }
}
