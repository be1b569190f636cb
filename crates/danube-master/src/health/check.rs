//! What a health check is: a name, how often and for how long it may look, what it finds,
//! and what may be tried where it finds trouble.

use std::time::Duration;

use danube_signals::{Check, HealthStatus};

/// How often checks run that cost next to nothing, so that readiness tells the truth within
/// five seconds ([`CHEAP_DEADLINE`] included).
pub(super) const CHEAP_EVERY: Duration = Duration::from_secs(2);

/// How long such a check may take before it counts as failed, although it goes on: a disk
/// that answers nothing doesn't even refuse. After half of it, it is degraded.
pub(super) const CHEAP_DEADLINE: Duration = Duration::from_secs(2);

/// One thing that is looked at. Everything about it stands in one file of `checks/`.
pub(crate) struct HealthCheck {
    pub(super) name: Check,
    /// How often it runs while all is well.
    pub(super) period: Duration,
    /// How long it may take for an answer; after half of that it is degraded.
    pub(super) deadline: Duration,
    /// Whether the master takes no work while it fails. One that is degraded never gates.
    pub(super) gates: bool,
    /// Looks. May block.
    pub(super) run: Box<dyn Fn() -> Answer + Send + Sync>,
    /// What may be tried when it finds trouble.
    pub(super) heal: Option<Heal>,
}

/// What may be tried.
pub(super) struct Heal {
    /// Its name, in events.
    pub(super) action: &'static str,
    /// It is tried at most this often.
    pub(super) every: Duration,
    /// What was done, or why it didn't work. May block.
    pub(super) run: Box<dyn Fn() -> Result<String, String> + Send + Sync>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: HealthStatus,
    /// For people: what is wrong and, where that is known, what to do. Empty when all is
    /// well.
    pub(super) message: String,
    /// Whether trying to heal it makes sense now.
    pub(super) can_heal: bool,
}

impl Answer {
    pub(super) fn ok() -> Self {
        Self::of(HealthStatus::Ok, String::new())
    }

    /// Nobody configured it.
    pub(super) fn disabled(why: &str) -> Self {
        Self::of(HealthStatus::Disabled, why.to_owned())
    }

    /// It works, but somebody should know.
    pub(super) fn degraded(message: impl Into<String>) -> Self {
        Self::of(HealthStatus::Degraded, message.into())
    }

    /// What it tells of is too long ago.
    pub(super) fn stale(message: impl Into<String>) -> Self {
        Self::of(HealthStatus::Stale, message.into())
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::of(HealthStatus::Failed, message.into())
    }

    /// Healing would change nothing.
    pub(super) fn beyond_healing(mut self) -> Self {
        self.can_heal = false;
        self
    }

    pub(super) fn is_bad(&self) -> bool {
        !matches!(self.status, HealthStatus::Ok | HealthStatus::Disabled)
    }

    fn of(status: HealthStatus, message: String) -> Self {
        Self {
            status,
            message,
            can_heal: true,
        }
    }
}
