//! Who asks, and what they may do.

mod codes;
mod keys;
mod reach;
mod sessions;
mod token;
mod workers;

pub(crate) use codes::Codes;
pub(crate) use keys::{AdminKeyError, Keys, MintedKey};
pub(crate) use reach::{Reach, is_pattern};
pub(crate) use sessions::{SESSION_COOKIE, Sessions};
pub(crate) use token::{hash, is_token, token};
pub(crate) use workers::{MintedWorker, Workers};

use std::sync::Arc;

use danube_blueprint::{Blueprint, Permission};
use danube_model::Timestamp;
use danube_signals::DeniedResource;
use danube_store::{KeyId, Role, USER_OWNER};

/// Somebody who showed a valid key or session.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Caller {
    /// Who is told to have done it: the service account, or the key.
    pub(crate) name: String,
    /// Stable across renaming, and across the keys of an account; owns idempotency keys.
    pub(crate) owner: String,
    /// The key that was shown.
    pub(crate) key: Option<KeyId>,
    /// The user of the blueprint that it is, if it is one.
    pub(crate) user: Option<String>,
    /// What they may do with what belongs to no pipeline.
    pub(crate) role: Role,
    /// What they may do with pipelines.
    pub(crate) reach: Reach,
    /// What they are about to do, as the table of rights has it of the route.
    pub(crate) wish: Wish,
    /// Showed a cookie instead of a key: a browser. It may read only, so that
    /// no foreign page can make it change anything.
    pub(crate) by_session: bool,
}

/// What a request needs with the pipeline that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The right.
    pub(crate) right: Permission,
    /// What a refusal is counted as.
    pub(crate) kind: DeniedResource,
}

impl Wish {
    /// To look at a pipeline's jobs.
    pub(crate) const LOOK: Self = Self {
        right: Permission::Read,
        kind: DeniedResource::Pipeline,
    };
}

/// A right, as people are told of it.
pub(crate) const fn right_name(right: Permission) -> &'static str {
    match right {
        Permission::Read => "read",
        Permission::Write => "write",
        Permission::Admin => "admin",
    }
}

/// Why nobody is known behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// Showed nothing, or nothing that is known.
    Unknown,
    /// Showed a key of this name that was good until then.
    Expired(String, Timestamp),
}

impl Stranger {
    /// What to do about it.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Unknown => {
                "send a valid API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`".to_owned()
            }
            Self::Expired(name, at) => format!(
                "the key `{name}` expired at {at}; ask an administrator for another one \
                 (`danube apikey create`)"
            ),
        }
    }
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
    /// Ourselves.
    pub(crate) fn own(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            owner: name.to_owned(),
            key: None,
            user: None,
            role: Role::Admin,
            reach: Reach::all(Permission::Admin),
            wish: Wish::LOOK,
            by_session: false,
        }
    }

    /// Who followed the link that a start prints.
    pub(crate) fn link() -> Self {
        Self {
            owner: "login-link".to_owned(),
            by_session: true,
            ..Self::own("login link")
        }
    }

    /// A user of the blueprint, in a browser.
    pub(crate) fn user(name: &str, is_admin: bool, blueprint: &Arc<Blueprint>) -> Self {
        let (role, reach) = if is_admin {
            (Role::Admin, Reach::all(Permission::Admin))
        } else {
            (Role::Member, Reach::member(name, Arc::clone(blueprint)))
        };
        Self {
            owner: format!("{USER_OWNER}{name}"),
            user: Some(name.to_owned()),
            role,
            reach,
            by_session: true,
            ..Self::own(name)
        }
    }

    /// What the audit log calls the key.
    pub(crate) fn key_name(&self) -> String {
        self.key
            .map_or_else(|| self.owner.clone(), |it| format!("key-{}", it.0))
    }

    /// Whether the caller may do that.
    pub(crate) fn may(&self, need: Need) -> bool {
        self.is_trusted_with(need) && (need == Need::Read || !self.by_session)
    }

    /// Whether they may look, in a browser too, at what is for those who may do that.
    pub(crate) fn may_see(&self, need: Need) -> bool {
        self.is_trusted_with(need) && self.reach.is_all()
    }

    /// Whether their role is for that, whatever they showed.
    pub(crate) fn is_trusted_with(&self, need: Need) -> bool {
        match need {
            Need::Read => true,
            Need::Work => matches!(self.role, Role::Admin | Role::Member),
            Need::Manage => self.role == Role::Admin,
        }
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
            key: None,
            user: None,
            role,
            reach: Reach::all(Permission::Admin),
            wish: Wish::LOOK,
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
