//! The built-in rules. A new one is a few lines here, and nothing else.

use super::Atom::{self, Of, Word};
use super::{Before, Body, Rule};
use crate::class::Run;
use crate::matcher::QUOTE_ESCAPES_MAX;

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

/// What stands where a secret could: no value at all, the name of a type, what a
/// help text calls the argument or says of the option, and the masks of others.
/// Nobody who chose one of these has a secret to lose. Lower case.
const NO_SECRETS: &[&str] = &[
    "true",
    "false",
    "null",
    "none",
    "nil",
    "undefined",
    "yes",
    "no",
    "string",
    "strings",
    "stringarray",
    "str",
    "bool",
    "required",
    "optional",
    "missing",
    "expired",
    "invalid",
    "flag",
    "option",
    "value",
    "password",
    "token",
    "secret",
    "key",
    "via",
    "and",
    "or",
    "is",
    "for",
    "to",
    "...",
    "…",
    "***",
    "****",
    "*****",
    "******",
    "********",
];

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
        not_body: NO_SECRETS,
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
        not_body: &[],
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
