//! Everything else passes unchanged: what real logs look like, without a secret.

use danube_redact::{Counts, Redactor, Rules, Secrets};

/// Logs of real shape. Every line of them holds something that a hasty rule takes
/// for a secret: hashes, ids, addresses, the words `token` and `password`.
const LOGS: &[(&str, &str)] = &[
    ("cargo", include_str!("ordinary/cargo.log")),
    ("npm", include_str!("ordinary/npm.log")),
    ("pytest", include_str!("ordinary/pytest.log")),
    ("ansible", include_str!("ordinary/ansible.log")),
    ("git", include_str!("ordinary/git.log")),
    ("docker", include_str!("ordinary/docker.log")),
    ("mixed", include_str!("ordinary/mixed.log")),
];

#[test]
fn logs_without_a_secret_pass_unchanged_whatever_they_speak_of() {
    let secrets = Secrets::new(Rules::builtin());
    for (name, text) in LOGS {
        for line in text.lines() {
            assert_eq!(secrets.redact(line), line, "{name}");
        }
        assert_eq!(secrets.redact(text), *text, "{name} as a whole");
    }
}

#[test]
fn logs_without_a_secret_pass_unchanged_byte_by_byte_and_nothing_is_counted() {
    let secrets = Secrets::new(Rules::builtin());
    for (name, text) in LOGS {
        let mut redactor = Redactor::new(&secrets);
        let mut out = Vec::new();
        for byte in text.as_bytes() {
            redactor.push(&[*byte], &mut out);
            redactor.flush_partial(&mut out);
        }
        redactor.finish(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), *text, "{name}");
        assert_eq!(redactor.take_counts(), Counts::new(), "{name}");
    }
}

#[test]
fn coloured_logs_and_progress_bars_pass_unchanged() {
    let secrets = Secrets::new(Rules::builtin());
    for (name, text) in LOGS {
        let coloured: String = text
            .lines()
            .flat_map(|line| ["\u{1b}[1;32m", line, "\u{1b}[0m\u{1b}[K\r\n"])
            .collect();
        assert_eq!(secrets.redact(&coloured), coloured, "{name}");
    }
}

#[test]
fn names_of_tests_and_functions_are_no_tokens() {
    let secrets = Secrets::new(Rules::builtin());
    for line in [
        "test secrets::tests::a_value_is_masked ... ok",
        "  3: proc_macro2::token::Group::new",
        "test network_test_connection_timeout_is_told ... ok",
        "disk_test_full_disk_recovers_by_itself",
        "highs_and_lows_of_the_distribution",
    ] {
        assert_eq!(secrets.redact(line), line);
    }
}
