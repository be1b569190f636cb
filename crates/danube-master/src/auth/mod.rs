//! Who asks, and what they may do.

mod keys;
mod sessions;
mod workers;

pub(crate) use keys::{AdminKeyError, Keys, MintedKey, owner};
pub(crate) use sessions::{SESSION_COOKIE, Sessions};
pub(crate) use workers::{MintedWorker, Workers};

use danube_store::Role;

/// Somebody who showed a valid key or session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The key's name.
    pub(crate) name: String,
    /// Stable across renaming; owns idempotency keys.
    pub(crate) owner: String,
    /// What they may do.
    pub(crate) role: Role,
    /// Showed a cookie instead of a key: a browser. It may read only, so that
    /// no foreign page can make it change anything.
    pub(crate) by_session: bool,
}

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// To look.
    Read,
    /// To submit, cancel and retry.
    Work,
    /// To manage keys and the server.
    Manage,
}

impl Caller {
    /// Whether the caller may do that.
    pub(crate) fn may(&self, need: Need) -> bool {
        let by_role = match need {
            Need::Read => true,
            Need::Work => matches!(self.role, Role::Admin | Role::Member),
            Need::Manage => self.role == Role::Admin,
        };
        by_role && (need == Need::Read || !self.by_session)
    }
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("Linux gives random bytes to every process since 3.17");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_bounds_what_a_caller_may_do_and_a_session_reads_only() {
        let caller = |role, by_session| Caller {
            name: "x".into(),
            owner: "1".into(),
            role,
            by_session,
        };
        assert!(caller(Role::Viewer, false).may(Need::Read));
        assert!(!caller(Role::Viewer, false).may(Need::Work));
        assert!(caller(Role::Member, false).may(Need::Work));
        assert!(!caller(Role::Member, false).may(Need::Manage));
        assert!(caller(Role::Admin, false).may(Need::Manage));
        assert!(!caller(Role::Admin, true).may(Need::Work));
        assert!(caller(Role::Admin, true).may(Need::Read));
    }
}
