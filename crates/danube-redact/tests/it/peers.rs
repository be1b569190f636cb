//! What leaked in other programs. Each test is a defect that was seen in one.

use crate::{check, with_values};
use danube_redact::{MASK, Redactor, Rules, Secrets};

#[test]
fn a_value_that_begins_like_itself_is_masked_however_it_is_written() {
    // GitLab's masker starts over at the second byte after a failed partial match.
    for (value, text) in [
        ("00f79ed853afbf91", "x=000f79ed853afbf91"),
        ("aabaabaab1", "aabaabaabaab1"),
        ("abab1abab2", "abab1abab1abab2"),
        ("1212345678", "tok=121212345678"),
    ] {
        for cut in 0..=text.len() {
            let shown = with_values(&[value], &[&text[..cut], &text[cut..]]);
            assert!(!shown.contains(value), "{text} cut at {cut}: {shown}");
            assert!(shown.ends_with(MASK), "{text} cut at {cut}: {shown}");
        }
    }
}

#[test]
fn every_short_self_overlapping_value_is_masked_at_every_split() {
    // All values of eight letters over two, each behind each of its own beginnings.
    for bits in 1..255_u32 {
        let letters = (0..8).map(|it| if bits >> it & 1 == 1 { 'a' } else { 'b' });
        let value: String = letters.collect();
        let secrets = Secrets::new(Rules::none());
        secrets.register(value.as_bytes()).unwrap();
        for own in 1..8 {
            let text = format!("{}{value}", &value[..own]);
            for cut in 1..text.len() {
                let mut out = Vec::new();
                let mut redactor = Redactor::new(&secrets);
                redactor.push(&text.as_bytes()[..cut], &mut out);
                redactor.flush_partial(&mut out);
                redactor.push(&text.as_bytes()[cut..], &mut out);
                redactor.finish(&mut out);
                let shown = String::from_utf8(out).unwrap();
                assert!(!shown.contains(&value), "{text} cut at {cut}: {shown}");
            }
        }
    }
}

#[test]
fn two_values_that_overlap_in_the_text_keep_its_order_and_show_neither() {
    // GitLab's masks overtook bytes that the next writer still held.
    assert_eq!(
        with_values(
            &["abcdeX-1", "X-1very-sensitive-value"],
            &["before abcdeX-1very-sensitive-value after"]
        ),
        "before [redacted] after"
    );
    // Woodpecker's replacer takes the first and shows the rest of the second.
    assert_eq!(
        with_values(
            &["prefix-hunter2", "hunter2-very-sensitive-value"],
            &["prefix-hunter2-very-sensitive-value"]
        ),
        MASK
    );
}

#[test]
fn a_value_that_is_the_beginning_the_middle_or_the_end_of_another_hides_all_of_it() {
    let long = "hunter2-production-key";
    for short in ["hunter2-", "2-production", "tion-key"] {
        for values in [[short, long], [long, short]] {
            assert_eq!(
                with_values(&values, &["key=", long, "."]),
                "key=[redacted]."
            );
        }
        assert_eq!(with_values(&[short, long], &[short]), MASK);
    }
}

#[test]
fn a_secret_on_the_edge_of_any_usual_buffer_or_limit_is_masked() {
    // Woodpecker cuts lines at 1 MiB, trufflehog reads in pieces of 10 KiB.
    let secrets = crate::all_kinds();
    for edge in [
        512,
        1000,
        4096,
        8192,
        10_240,
        16_384,
        32_768,
        65_536,
        1 << 20,
    ] {
        for (before, secret, after) in crate::KINDS {
            for back in [1, secret.len() / 2, secret.len() + before.len() - 1] {
                let filler = ".".repeat(edge - back);
                let text = format!("{filler}{before}{secret}{after}\n");
                let shown = secrets.redact(&text);
                assert_eq!(
                    shown,
                    format!("{filler}{before}{MASK}{after}\n"),
                    "{before}{secret} {back} bytes before {edge}"
                );
            }
        }
    }
}

#[test]
fn a_json_value_over_several_lines_leaves_the_brackets_of_others_alone() {
    // Woodpecker masked every `{` and `}` of the log.
    let value = "{\n\"private_key_id\": \"0815-4711\"\n}";
    assert_eq!(
        with_values(&[value], &["{ }\n{\n\"a\": 1\n}\n", value, "\n}"]),
        "{ }\n{\n\"a\": 1\n}\n[redacted]\n}"
    );
}

#[test]
fn a_value_split_over_two_writes_is_masked_at_every_split() {
    // Drone looks at each write by itself.
    let text = "say kanarienvogel-0815 twice";
    for cut in 0..=text.len() {
        assert_eq!(
            with_values(&["kanarienvogel-0815"], &[&text[..cut], &text[cut..]]),
            "say [redacted] twice"
        );
    }
}

#[test]
fn a_keyword_that_begins_with_another_is_not_forgotten() {
    // trufflehog's prefilter dropped `npm_` where `npm` was a keyword too.
    for key in [
        "secret",
        "secrets",
        "secret_key",
        "secretkey",
        "client_secret_key",
        "credential",
        "credentials",
        "api_key",
        "apikey",
        "access_key",
        "passphrase",
        "passwd",
        "my_pass",
    ] {
        check(&format!("{key}=abc1"), &format!("{key}=[redacted]"));
    }
}

#[test]
fn every_secret_of_a_line_is_found_not_only_the_first() {
    // trufflehog's prefilter kept one position for each keyword.
    check(
        "password=a1 password=b2 token=c3 password='d4' ://u:e5@h ://u:f6@h",
        "password=[redacted] password=[redacted] token=[redacted] password='[redacted]' ://u:[redacted]@h ://u:[redacted]@h",
    );
    let token = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";
    check(
        &format!("{token} {token},{token}"),
        "[redacted] [redacted],[redacted]",
    );
}

#[test]
fn a_value_that_looks_like_the_mask_does_not_eat_the_mask() {
    // Concourse ran over its own marker in a later pass.
    let secrets = Secrets::new(Rules::builtin());
    secrets.register(b"redacted").unwrap();
    assert_eq!(
        secrets.redact("password=hunter2 is redacted"),
        "password=[redacted] is [redacted]"
    );
}

#[test]
fn a_token_of_any_length_is_masked_whole() {
    // trufflehog looked at 512 bytes around a keyword.
    let secrets = Secrets::new(Rules::builtin());
    for len in [100, 511, 512, 513, 1_500, 8_191, 65_537, 200_000] {
        let body: String = ('a'..='z').cycle().take(len).collect();
        assert_eq!(
            secrets.redact(&format!("use ghp_{body}, please")),
            "use [redacted], please",
            "{len}"
        );
        assert_eq!(
            secrets.redact(&format!("token={body} x")),
            "token=[redacted] x",
            "{len}"
        );
    }
}
