//! What a user of the redactor sees.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod boundaries;
mod encodings;
mod ordinary;
mod peers;
mod property;
mod registration;
mod rules;
mod seeds;
mod split;
mod stream;
mod user_rules;
mod values;

use danube_redact::{Counts, Redactor, Rules, Secrets};

/// What the built-in rules make of an input; and that a mask is no secret.
#[track_caller]
fn check(input: &str, expected: &str) {
    let secrets = Secrets::new(Rules::builtin());
    assert_eq!(secrets.redact(input), expected, "input {input:?}");
    assert_eq!(secrets.redact(expected), expected, "redacted again");
    let mut again = Redactor::new(&secrets);
    again.push(expected.as_bytes(), &mut Vec::new());
    again.finish(&mut Vec::new());
    assert_eq!(
        again.take_counts(),
        Counts::new(),
        "a mask is no secret: {expected:?}"
    );
}

/// One example of each kind of secret that the built-in rules know: what stands
/// before, the secret, and what ends it.
const KINDS: &[(&str, &str, &str)] = &[
    ("password=", "hunter2-hunter2", " "),
    ("api_key: \"", "zork frotz 31", "\""),
    ("{\\\"secret\\\":\\\"", "gnusto", "\\\""),
    ("x --token ", "t0psecret", " "),
    ("Authorization: Bearer ", "mF_9.B5f-4.1JqM", " "),
    (
        "got ",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl-_",
        " ",
    ),
    ("https://j\u{f6}:", "p%40ss-w0rd", "@host"),
    (
        "-----BEGIN PRIVATE KEY-----",
        "\nMIIEpAIBAAKCAQEA7bq\n",
        "-----END PRIVATE KEY-----",
    ),
    ("use ", "ghp_0123456789abcdefghijklmnopqrstuvwxyz", "."),
    ("use ", "glpat-0123456789abcdefghij", ","),
    ("use ", "AKIAIOSFODNN7EXAMPLE", "/"),
    ("value ", VALUE, "!"),
];

/// The registered value among [`KINDS`].
const VALUE: &str = "kanarienvogel-0815";

/// The built-in rules and [`VALUE`].
fn all_kinds() -> Secrets {
    let secrets = Secrets::new(Rules::builtin());
    secrets.register(VALUE.as_bytes()).unwrap();
    secrets
}

/// What comes out of these writes, with a flush after each, under these values
/// and no rules.
#[track_caller]
fn with_values(values: &[&str], writes: &[&str]) -> String {
    let secrets = Secrets::new(Rules::none());
    for value in values {
        secrets.register(value.as_bytes()).unwrap();
    }
    let mut redactor = Redactor::new(&secrets);
    let mut out = Vec::new();
    for write in writes {
        redactor.push(write.as_bytes(), &mut out);
        redactor.flush_partial(&mut out);
    }
    redactor.finish(&mut out);
    String::from_utf8(out).unwrap()
}
