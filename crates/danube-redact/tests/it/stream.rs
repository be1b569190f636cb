//! Streams: prompts, long lines, hostile input. Memory and work stay bounded.

use danube_redact::{MASK, Redactor, Rules, Secrets, UserRule};

#[test]
fn a_prompt_shows_at_once_except_for_what_may_become_a_secret() {
    let secrets = Secrets::new(Rules::builtin());
    secrets.register(b"correct-horse").unwrap();
    let mut redactor = Redactor::new(&secrets);
    let mut out = Vec::new();
    redactor.push(b"Continue? [y/N] ", &mut out);
    redactor.flush_partial(&mut out);
    assert_eq!(out, b"Continue? [y/N] ");
    redactor.push(b"Password: ", &mut out);
    redactor.flush_partial(&mut out);
    assert_eq!(out, b"Continue? [y/N] Password: ");
    redactor.push(b"x\nis it corr", &mut out);
    redactor.flush_partial(&mut out);
    assert_eq!(out, b"Continue? [y/N] Password: [redacted]\nis it ");
    assert_eq!(redactor.held_bytes(), 4);
    redactor.push(b"ect?", &mut out);
    redactor.flush_partial(&mut out);
    assert!(out.ends_with(b"\nis it correct?"));
    assert_eq!(redactor.held_bytes(), 0);
}

#[test]
fn a_token_longer_than_any_buffer_is_one_mask_in_constant_memory() {
    let rule = UserRule {
        id: "acme".to_owned(),
        keyword: "acme".to_owned(),
        pattern: "acme: (?<secret>[A-Z]+)".to_owned(),
        case_sensitive: true,
    };
    let secrets = Secrets::new(Rules::builtin().with_user(&[rule]).unwrap());
    secrets.register(b"correct-horse").unwrap();
    for head in ["token=", "password=\"", "eyJ", "x://joe:", "ghp_", "acme: "] {
        let mut redactor = Redactor::new(&secrets);
        let mut out = Vec::new();
        redactor.push(head.as_bytes(), &mut out);
        for _ in 0..300 {
            redactor.push(&[b'Q'; 1024], &mut out);
            assert!(redactor.held_bytes() < 128 * 1024);
        }
        redactor.push(b"\nend\n", &mut out);
        redactor.finish(&mut out);
        let kept = match head {
            "eyJ" | "ghp_" => "",
            kept => kept,
        };
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("{kept}{MASK}\nend\n"),
            "{head}"
        );
    }
}

#[test]
fn a_long_line_of_anything_passes_unchanged_in_constant_memory() {
    let secrets = Secrets::new(Rules::builtin().with_email());
    secrets.register(b"correct-horse").unwrap();
    let part: Vec<u8> = (0..=255u8)
        .filter(|b| !matches!(b, b'\n' | b'\r' | b'@'))
        .collect();
    let mut redactor = Redactor::new(&secrets);
    let mut out = Vec::new();
    let mut expected = Vec::new();
    for _ in 0..4_000 {
        redactor.push(&part, &mut out);
        expected.extend_from_slice(&part);
        assert!(redactor.held_bytes() < 128 * 1024);
    }
    redactor.finish(&mut out);
    assert!(out == expected);
}

#[test]
fn hostile_input_in_single_bytes_takes_linear_time() {
    // Quadratic work on these would take hours, so ending at all is the test.
    let secrets = Secrets::new(Rules::builtin().with_email());
    secrets
        .register(b"abababababababababababababababababab")
        .unwrap();
    for unit in [
        "token=",
        "eyJ",
        "password=\"",
        "x://u:",
        "ab",
        "a@",
        "\x1b[",
        "-----BEGIN ",
        "\\\"",
    ] {
        let input = unit.repeat(200_000 / unit.len());
        let mut redactor = Redactor::new(&secrets);
        let mut out = Vec::new();
        for byte in input.as_bytes() {
            redactor.push(&[*byte], &mut out);
        }
        redactor.finish(&mut out);
        assert_eq!(redactor.held_bytes(), 0);
    }
}

/// Input for the tests of memory. Sixteen times as much, optimised, shows the same.
const CHAIN_BYTES: usize = if cfg!(debug_assertions) {
    1024 * 1024
} else {
    16 * 1024 * 1024
};

/// Held at most: a line's worth of 64 KiB that is not scanned yet, and as much
/// that may still become part of something.
const HELD_BYTES_MAX: usize = 128 * 1024;

#[test]
fn chains_of_overlapping_matches_keep_the_hold_bounded() {
    // Each match once began before the end of the one before, without an end.
    let secrets = Secrets::new(Rules::builtin().with_email());
    secrets.register(b"aaaaaaaaaaab").unwrap();
    secrets.register(b"baaaaaaaaaaa").unwrap();
    secrets.register(b"xyxyxyxyxy").unwrap();
    secrets.register(b"line-of-it\nline-of-it").unwrap();
    for unit in [
        "a",
        "aaaaaaaaaaab",
        "xy",
        "line-of-it\n",
        "password=\"password=",
        "password=",
        "token='",
        "\\\"token\\\":\\\"",
        "token=token=",
        "eyJ",
        "eyJhbGciOiJIUzI1NiJ9.",
        "bearer ",
        "authorization: bearer ",
        "x://u:",
        "://",
        "a@b.cd",
        "ghp_",
        "-----BEGIN PRIVATE KEY-----",
        "-----END",
        "password=\u{1b}[1m",
        "xy\u{1b}[31m",
        "\u{1b}]0;",
        "password=[redacted]",
        "token=tru",
        "token=<",
    ] {
        let mut redactor = Redactor::new(&secrets);
        let mut out = Vec::new();
        let part = unit.repeat(1000_usize.div_ceil(unit.len()));
        let mut taken = 0;
        while taken < CHAIN_BYTES {
            redactor.push(part.as_bytes(), &mut out);
            taken += part.len();
            let held = redactor.held_bytes();
            assert!(held <= HELD_BYTES_MAX, "{unit:?}: {held} held of {taken}");
            // What is out is not looked at again: the output takes no part.
            out.clear();
        }
        redactor.finish(&mut out);
        assert_eq!(redactor.held_bytes(), 0);
    }
}

#[test]
fn a_flush_after_every_piece_of_a_chain_holds_little() {
    let secrets = Secrets::new(Rules::builtin());
    secrets.register(b"xyxyxyxyxy").unwrap();
    for unit in ["xy", "password=\"password=", "token=token=", "x://u:"] {
        let mut redactor = Redactor::new(&secrets);
        let mut out = Vec::new();
        for _ in 0..20_000 {
            redactor.push(unit.as_bytes(), &mut out);
            redactor.flush_partial(&mut out);
            let held = redactor.held_bytes();
            assert!(held <= 8 * 1024, "{unit:?}: {held} held");
        }
    }
}

#[test]
fn hostile_input_in_large_writes_takes_linear_time() {
    // As above: quadratic work would not end. `token=token=…` and `eyJeyJ…` once
    // looked for the end of the same run from every keyword.
    let secrets = Secrets::new(Rules::builtin().with_email());
    secrets.register(b"abababababababab").unwrap();
    for unit in [
        "token=",
        "token:",
        "eyJ",
        "eyJaaaaaaaa.",
        "password=\"",
        "password='",
        "\\\"token\\\":\\\"",
        "bearer ",
        "://a:",
        "://a@",
        "ab",
        "ba",
        "a@",
        "a.b@",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "\u{1b}[",
        "\u{1b}[1m",
        "\u{1b}]0;x",
        "ghp_",
        "AKIA",
        "--token ",
        "\\",
        "\n",
        "\r",
        "[redacted]",
    ] {
        let input = unit.repeat(CHAIN_BYTES / unit.len());
        for tail in ["", "\n", " tail\n"] {
            let mut redactor = Redactor::new(&secrets);
            let mut out = Vec::new();
            redactor.push(input.as_bytes(), &mut out);
            redactor.push(tail.as_bytes(), &mut out);
            redactor.finish(&mut out);
            assert!(!out.is_empty());
        }
    }
}

#[test]
fn progress_bars_and_dots_show_as_they_come() {
    // Concourse's watchers saw nothing of a line until its end.
    let secrets = Secrets::new(Rules::builtin());
    secrets.register(b"correct-horse").unwrap();
    let mut redactor = Redactor::new(&secrets);
    let mut out = Vec::new();
    let mut expected = Vec::new();
    for piece in [
        "..",
        ".",
        " 10%\r",
        " 20%\r",
        "\u{1b}[K 30%",
        "\r\u{1b}[2J",
        "#",
        "\u{20ac}",
    ] {
        redactor.push(piece.as_bytes(), &mut out);
        redactor.flush_partial(&mut out);
        expected.extend_from_slice(piece.as_bytes());
        assert_eq!(out, expected, "{piece:?}");
        assert_eq!(redactor.held_bytes(), 0);
    }
}

#[test]
fn many_short_lines_nuls_and_invalid_utf8_pass_in_constant_memory() {
    let secrets = Secrets::new(Rules::builtin().with_email());
    secrets.register(b"correct-horse").unwrap();
    for unit in [
        &b"\n"[..],
        b"\r\n",
        b"\0",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x92",
        b"\0\n",
    ] {
        let mut redactor = Redactor::new(&secrets);
        let mut out = Vec::new();
        let part = unit.repeat(10_000);
        for _ in 0..50 {
            out.clear();
            redactor.push(&part, &mut out);
            redactor.flush_partial(&mut out);
            assert!(out == part, "{unit:?}");
        }
    }
}
