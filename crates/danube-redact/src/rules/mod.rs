//! The rules as data: what to look for, near which keyword, and what stays.

mod builtin;

use std::sync::Arc;

use crate::class::Run;
use crate::user::{RuleError, UserRule, UserRules};

pub(crate) use builtin::RULES;

/// Which patterns are looked for. Clones share what was compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub(crate) builtin: bool,
    pub(crate) email: bool,
    pub(crate) user: Option<Arc<UserRules>>,
}

impl Rules {
    /// Every built-in rule except e-mail addresses.
    #[must_use]
    pub fn builtin() -> Self {
        Self {
            builtin: true,
            email: false,
            user: None,
        }
    }

    /// Registered values only.
    #[must_use]
    pub fn none() -> Self {
        Self {
            builtin: false,
            email: false,
            user: None,
        }
    }

    /// These rules, and e-mail addresses.
    #[must_use]
    pub fn with_email(self) -> Self {
        Self {
            email: true,
            ..self
        }
    }

    /// These rules, and those that a user wrote, in place of any that were added
    /// before. Compile once, at the start: it takes milliseconds, and ids are
    /// kept until the process ends.
    ///
    /// # Errors
    /// Every mistake in every rule. Nothing was added then.
    pub fn with_user(self, rules: &[UserRule]) -> Result<Self, Vec<RuleError>> {
        let user = match rules {
            [] => None,
            _ => Some(UserRules::new(rules)?),
        };
        Ok(Self { user, ..self })
    }

    /// The rules that a user wrote.
    #[must_use]
    pub fn user(&self) -> &[UserRule] {
        self.user.as_deref().map_or(&[], UserRules::written)
    }

    pub(crate) fn is_none(&self) -> bool {
        !self.builtin && !self.email && self.user.is_none()
    }

    /// The ids that can appear in the counts of a redactor with these rules, in
    /// order and each once. A closed set: fit for a metric's label.
    #[must_use]
    pub fn ids(&self) -> Vec<&'static str> {
        let mut ids = vec![crate::RULE_VALUE];
        if self.builtin {
            ids.extend(RULES.iter().map(|rule| rule.id));
        }
        if self.email {
            ids.push(EMAIL);
        }
        ids.extend(self.user.iter().flat_map(|it| it.ids()));
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

/// The id of the e-mail rule.
pub(crate) const EMAIL: &str = "email";

/// One rule. It is tried wherever one of its keywords stands.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Stable: the label of its metric.
    pub(crate) id: &'static str,
    /// In lower case unless `exact_case`.
    pub(crate) keywords: &'static [&'static str],
    pub(crate) exact_case: bool,
    pub(crate) before: Before,
    /// What must follow the keyword, each taking as much as it can.
    pub(crate) head: &'static [Atom],
    /// Keyword and head stay and only the body is masked.
    pub(crate) keep_head: bool,
    pub(crate) body: Body,
    /// The body does not begin with one of these.
    pub(crate) not_first: &'static [u8],
    /// Bodies that are no secret: these words in any case, and `<placeholders>`.
    pub(crate) not_body: &'static [&'static str],
}

/// What must stand before the keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Anything,
    /// No letter, digit or `_`.
    NoWord,
    /// The keyword ends a command-line option: `--db-password`.
    Option,
}

/// One element of a rule's head.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Atom {
    /// Between so many and so many bytes of a run.
    Of(Run, usize, usize),
    /// One of these words, in any case. None begins with another.
    Word(&'static [&'static str]),
}

/// What is masked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    /// A run of at least so many bytes, however long.
    Run(Run, usize),
    /// The rest of a JSON web token, after `eyJ`.
    Jwt,
    /// The password in a URL, or a user name long enough to be a token.
    Userinfo,
    /// The rest of a private key's `BEGIN` line stays, what follows is masked.
    Pem,
}
