//! What a check found.

/// The words of the health checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// It is as it should be.
    Ok,
    /// It works, but not as it could.
    Degraded,
    /// It doesn't work, or is dangerous.
    Failed,
    /// Nobody asked for it.
    Disabled,
}

impl Status {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
        }
    }
}

/// How one thing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) status: Status,
    /// What is there, or isn't.
    pub(super) detail: String,
    /// What to do about it.
    pub(super) fix: Option<String>,
}

impl Found {
    /// It is there; what.
    pub(super) fn fine(what: impl Into<String>) -> Self {
        Self {
            status: Status::Ok,
            detail: what.into(),
            fix: None,
        }
    }

    /// It works, but; and what to do.
    pub(super) fn weak(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            status: Status::Degraded,
            detail: what.into(),
            fix: Some(fix.into()),
        }
    }

    /// It doesn't; and what to do.
    pub(super) fn wrong(why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            status: Status::Failed,
            detail: why.into(),
            fix: Some(fix.into()),
        }
    }

    /// Nobody asked for it; why that is known.
    pub(super) fn unused(why: impl Into<String>) -> Self {
        Self {
            status: Status::Disabled,
            detail: why.into(),
            fix: None,
        }
    }
}
