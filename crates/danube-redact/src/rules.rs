//! The rules as data: what to look for, near which keyword, and what stays.

use std::sync::Arc;

use crate::class::Run;
use crate::matcher::QUOTE_ESCAPES_MAX;
use crate::user::{RuleError, UserRule, UserRules};

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

/// Words that name a secret when a separator and a value follow.
const KEYS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "_pass",
    "passcode",
    "token",
    "secret",
    "secrets",
    "api_key",
    "api-key",
    "apikey",
    "api key",
    "secret_key",
    "secret-key",
    "secretkey",
    "access_key",
    "access-key",
    "accesskey",
    "account_key",
    "accountkey",
    "private_key",
    "private-key",
    "privatekey",
    "auth_key",
    "authkey",
    "encryption_key",
    "credential",
    "credentials",
    "amz-signature",
];

/// `pwd` names a secret, but `PWD=/work` does not.
const PWD: &[&str] = &["pwd"];

use Atom::{Of, Word};

const BARE: &[Atom] = &[
    Of(Run::KeyClose, 0, 3),
    Of(Run::Space, 0, 8),
    Word(&["="]),
    Of(Run::Arrow, 0, 1),
    Of(Run::Space, 0, 8),
];
/// Of its own, because `::` is a path in Rust and C++ and no separator.
const BARE_COLON: &[Atom] = &[
    Of(Run::KeyClose, 0, 3),
    Of(Run::Space, 0, 8),
    Word(&[":"]),
    Of(Run::Arrow, 0, 1),
    Of(Run::Space, 0, 8),
];
const DOUBLE: &[Atom] = &[
    Of(Run::KeyClose, 0, 3),
    Of(Run::Space, 0, 8),
    Of(Run::Separator, 1, 1),
    Of(Run::Arrow, 0, 1),
    Of(Run::Space, 0, 8),
    Of(Run::LiteralPrefix, 0, 2),
    Of(Run::DoubleQuote, 1, 1),
];
const SINGLE: &[Atom] = &[
    Of(Run::KeyClose, 0, 3),
    Of(Run::Space, 0, 8),
    Of(Run::Separator, 1, 1),
    Of(Run::Arrow, 0, 1),
    Of(Run::Space, 0, 8),
    Of(Run::LiteralPrefix, 0, 2),
    Of(Run::SingleQuote, 1, 1),
];
const ESCAPED: &[Atom] = &[
    Of(Run::KeyClose, 0, 3),
    Of(Run::Space, 0, 8),
    Of(Run::Separator, 1, 1),
    Of(Run::Arrow, 0, 1),
    Of(Run::Space, 0, 8),
    Of(Run::Backslash, 1, QUOTE_ESCAPES_MAX),
    Of(Run::AnyQuote, 1, 1),
];
const HEADER: &[Atom] = &[
    Of(Run::KeyClose, 0, 3),
    Of(Run::Space, 0, 8),
    Of(Run::Separator, 1, 1),
    Of(Run::Space, 0, 8),
    Of(Run::QuoteOpen, 0, 2),
];
const SCHEME: &[Atom] = &[
    Of(Run::KeyClose, 0, 3),
    Of(Run::Space, 0, 8),
    Of(Run::Separator, 1, 1),
    Of(Run::Space, 0, 8),
    Of(Run::QuoteOpen, 0, 2),
    Word(&["bearer", "basic", "token", "apikey", "negotiate", "ntlm"]),
    Of(Run::Space, 1, 8),
];

const fn keyed(keywords: &'static [&'static str], head: &'static [Atom], run: Run) -> Rule {
    Rule {
        id: "key_value",
        keywords,
        exact_case: false,
        before: Before::Anything,
        head,
        keep_head: true,
        body: Body::Run(run, 1),
        not_first: b"",
    }
}

const fn option(head: &'static [Atom], run: Run) -> Rule {
    Rule {
        id: "command_line",
        before: Before::Option,
        not_first: b"-",
        ..keyed(KEYS, head, run)
    }
}

const fn token(
    id: &'static str,
    keywords: &'static [&'static str],
    before: Before,
    run: Run,
    min: usize,
) -> Rule {
    Rule {
        id,
        keywords,
        exact_case: true,
        before,
        head: &[],
        keep_head: false,
        body: Body::Run(run, min),
        not_first: b"",
    }
}

/// The built-in rules.
pub(crate) static RULES: &[Rule] = &[
    keyed(KEYS, BARE, Run::Bare),
    Rule {
        not_first: b":",
        ..keyed(KEYS, BARE_COLON, Run::Bare)
    },
    keyed(KEYS, DOUBLE, Run::DoubleQuoted),
    keyed(KEYS, SINGLE, Run::SingleQuoted),
    keyed(KEYS, ESCAPED, Run::EscapedQuoted),
    Rule {
        not_first: b"/",
        ..keyed(PWD, BARE, Run::Bare)
    },
    Rule {
        not_first: b"/:",
        ..keyed(PWD, BARE_COLON, Run::Bare)
    },
    Rule {
        not_first: b"/",
        ..keyed(PWD, DOUBLE, Run::DoubleQuoted)
    },
    keyed(PWD, SINGLE, Run::SingleQuoted),
    keyed(PWD, ESCAPED, Run::EscapedQuoted),
    option(&[Of(Run::Space, 1, 8)], Run::Bare),
    option(
        &[Of(Run::Space, 1, 8), Of(Run::DoubleQuote, 1, 1)],
        Run::DoubleQuoted,
    ),
    option(
        &[Of(Run::Space, 1, 8), Of(Run::SingleQuote, 1, 1)],
        Run::SingleQuoted,
    ),
    Rule {
        id: "authorization",
        ..keyed(&["authorization"], SCHEME, Run::Bare)
    },
    // Without a known scheme only what is too long to be one.
    Rule {
        id: "authorization",
        body: Body::Run(Run::Bare, 20),
        ..keyed(&["authorization"], HEADER, Run::Bare)
    },
    Rule {
        id: "authorization",
        body: Body::Run(Run::Token68, 16),
        ..keyed(&["bearer"], &[Of(Run::Space, 1, 8)], Run::Token68)
    },
    Rule {
        id: "jwt",
        body: Body::Jwt,
        ..token("jwt", &["eyJ"], Before::Anything, Run::Dotted, 0)
    },
    Rule {
        id: "url_credentials",
        body: Body::Userinfo,
        ..keyed(&["://"], &[], Run::Authority)
    },
    Rule {
        id: "private_key",
        exact_case: true,
        body: Body::Pem,
        ..keyed(&["-----BEGIN "], &[], Run::Pem)
    },
    token(
        "github_token",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
        Before::Anything,
        // Not `_`: `highs_and_lows_of_the_distribution` is no token.
        Run::Alnum,
        20,
    ),
    token(
        "github_token",
        &["github_pat_"],
        Before::Anything,
        Run::Word,
        20,
    ),
    // Danube's own API keys.
    token("danube_key", &["dnb_"], Before::NoWord, Run::Dotted, 20),
    token(
        "gitlab_token",
        &[
            "glpat-", "glptt-", "gldt-", "glrt-", "glcbt-", "glsoat-", "glft-", "glimt-",
            "glagent-",
        ],
        Before::NoWord,
        Run::Dotted,
        16,
    ),
    token(
        "slack_token",
        &[
            "xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxe.", "xoxc-", "xoxd-",
            "xapp-",
        ],
        Before::NoWord,
        Run::Dotted,
        10,
    ),
    Rule {
        keep_head: true,
        ..token(
            "slack_webhook",
            &["hooks.slack.com/services/", "hooks.slack.com/workflows/"],
            Before::Anything,
            Run::Token68,
            16,
        )
    },
    token(
        "aws_key_id",
        &["AKIA", "ASIA", "ABIA", "ACCA"],
        Before::NoWord,
        Run::UpperDigit,
        16,
    ),
    token("npm_token", &["npm_"], Before::NoWord, Run::Alnum, 30),
    token(
        "pypi_token",
        &["pypi-AgE"],
        Before::NoWord,
        Run::Base64Url,
        16,
    ),
    token(
        "stripe_key",
        &["sk_live_", "rk_live_", "sk_test_", "rk_test_"],
        Before::Anything,
        // Not `_`: `network_test_connection_timeout` is no key.
        Run::Alnum,
        16,
    ),
    token("stripe_key", &["whsec_"], Before::Anything, Run::Word, 16),
    token("google_key", &["AIza"], Before::NoWord, Run::Base64Url, 35),
    token(
        "google_key",
        &["ya29.", "GOCSPX-"],
        Before::NoWord,
        Run::Dotted,
        20,
    ),
    token(
        "ai_key",
        &["sk-ant-", "sk-proj-", "sk-svcacct-"],
        Before::NoWord,
        Run::Base64Url,
        20,
    ),
    token("ai_key", &["hf_"], Before::NoWord, Run::Alnum, 30),
    token(
        "docker_token",
        &["dckr_pat_", "dckr_oat_"],
        Before::NoWord,
        Run::Base64Url,
        20,
    ),
    token(
        "vault_token",
        &["hvs.", "hvb.", "hvr."],
        Before::NoWord,
        Run::Base64Url,
        20,
    ),
    token("sendgrid_key", &["SG."], Before::NoWord, Run::Dotted, 40),
    token(
        "digitalocean_token",
        &["dop_v1_", "doo_v1_", "dor_v1_"],
        Before::NoWord,
        Run::Alnum,
        32,
    ),
    token(
        "age_key",
        &["AGE-SECRET-KEY-1"],
        Before::NoWord,
        Run::UpperDigit,
        32,
    ),
];
