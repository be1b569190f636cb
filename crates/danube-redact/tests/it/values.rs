//! Registered values: how they may stand in a text, and how they are registered.

use crate::with_values;
use danube_redact::{MASK, Redactor, Rules, Secrets};

#[test]
fn overlapping_nested_and_torn_values_are_masked_whole() {
    assert_eq!(
        with_values(&["1212345678"], &["tok=121", "212345678"]),
        "tok=12[redacted]"
    );
    assert_eq!(
        with_values(&["abcdefgh", "efghijkl"], &["abcdefghijkl"]),
        MASK
    );
    assert_eq!(
        with_values(
            &["hunter2-", "hunter2-production-key"],
            &["key=hunter2-production-key"]
        ),
        "key=[redacted]"
    );
    assert_eq!(
        with_values(&["aabaabaab"], &["xaabaabaabaabaabaabx"]),
        "x[redacted]x"
    );
    assert_eq!(
        with_values(&["00f79ed853afbf91"], &["x=00", "0f79ed853afbf91"]),
        "x=0[redacted]"
    );
    assert_eq!(
        with_values(
            &["abcdeXyz", "Xyz-very-sensitive"],
            &["abcdeXyz-very-sensitive"]
        ),
        MASK
    );
}

#[test]
fn values_with_colour_codes_inside_are_masked_and_codes_around_stay() {
    let value = &["correct-horse"];
    assert_eq!(
        with_values(value, &["\x1b[1mcorrect\x1b[31m-ho\x1b[0mrse\x1b[0m end"]),
        "\x1b[1m[redacted]\x1b[0m end"
    );
    assert_eq!(
        with_values(value, &["corr\x1b]8;;http://x\x1b", "\\ect-horse\n"]),
        "[redacted]\n"
    );
    let secrets = Secrets::new(Rules::builtin());
    assert_eq!(
        secrets.redact("\x1b[1mpassword\x1b[0m=\x1b[32mhunter2\x1b[0m\n"),
        "\x1b[1mpassword\x1b[0m=\x1b[32m[redacted]\x1b[0m\n"
    );
}

#[test]
fn a_multi_line_value_is_masked_however_it_is_broken() {
    let value = &["line number one\nline number two\n"];
    assert_eq!(
        with_values(value, &["a line number", " one\nline number two b"]),
        "a [redacted] b"
    );
    assert_eq!(
        with_values(value, &["line number one\r\nline number two"]),
        MASK
    );
    assert_eq!(
        with_values(value, &["x line number two y"]),
        "x [redacted] y"
    );
    assert_eq!(
        with_values(value, &["line number one line number two"]),
        MASK
    );
}

#[test]
fn a_value_registered_while_a_redactor_runs_masks_what_is_still_held() {
    let secrets = Secrets::new(Rules::none());
    secrets.register(b"early-value").unwrap();
    let mut redactor = Redactor::new(&secrets);
    let mut out = Vec::new();
    redactor.push(b"early-value late-", &mut out);
    secrets.register(b"late-value").unwrap();
    redactor.push(b"value\n", &mut out);
    redactor.finish(&mut out);
    assert_eq!(out, b"[redacted] [redacted]\n");
}

#[test]
fn a_value_whose_encoding_is_broken_into_lines_is_masked() {
    let value: Vec<u8> = (0..120_u8).map(|it| it.wrapping_mul(37) ^ 0x5a).collect();
    let secrets = Secrets::new(Rules::none());
    secrets.register(&value).unwrap();
    let base64 = base64::engine::Engine::encode(&base64::engine::general_purpose::STANDARD, &value);
    let hex: String = value.iter().map(|it| format!("{it:02x}")).collect();
    for (text, columns) in [(&base64, 76), (&base64, 64), (&hex, 60), (&hex, 64)] {
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(columns)
            .map(|it| std::str::from_utf8(it).unwrap())
            .collect();
        let seen = secrets.redact(&lines.join("\n"));
        for line in lines.iter().filter(|it| it.len() >= 8) {
            assert!(!seen.contains(line), "{columns} columns: {seen}");
        }
    }
}
