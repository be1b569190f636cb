//! The edges between writes, blocks and vectors, where searches go wrong.

use crate::{KINDS, all_kinds};
use danube_redact::{MASK, Redactor, Rules, Secrets};

/// Longer than two vectors of 64 bytes: a secret stands on every lane.
const LANES: usize = 130;

#[test]
fn a_secret_is_found_at_every_offset_of_a_block() {
    let secrets = all_kinds();
    for (before, secret, after) in KINDS {
        for pad in 0..LANES {
            let filler = "-".repeat(pad);
            for tail in ["", "\n", &"~".repeat(LANES)] {
                let shown = secrets.redact(&format!("{filler}{before}{secret}{after}{tail}"));
                assert_eq!(
                    shown,
                    format!("{filler}{before}{MASK}{after}{tail}"),
                    "{before}{secret} at {pad}"
                );
            }
        }
    }
}

#[test]
fn bytes_that_are_not_ascii_near_a_keyword_hide_nothing() {
    // A byte of 0x80 and more once aliased to an ASCII one in a vector's table.
    let secrets = Secrets::new(Rules::builtin());
    for byte in 0x80..=0xff_u8 {
        for pad in [0, 1, 13, 31, 60, 63] {
            let filler = vec![b'.'; pad];
            for (before, after) in [
                (
                    &[b"https://jo".as_slice(), &[byte], b":"].concat(),
                    b"@host".as_slice(),
                ),
                (&[b"https://", [byte].as_slice(), b":"].concat(), b"@host"),
                (&[[byte].as_slice(), b"password="].concat(), b" "),
                (&[[byte, byte, byte].as_slice(), b"token: "].concat(), b"\n"),
                (
                    &[[byte].as_slice(), b"authorization: bearer "].concat(),
                    b" ",
                ),
            ] {
                let text = [&filler, before.as_slice(), b"hunter2-hunter2", after].concat();
                let expected = [&filler, before.as_slice(), MASK.as_bytes(), after].concat();
                assert_eq!(
                    secrets.redact_bytes(&text),
                    expected,
                    "{}",
                    String::from_utf8_lossy(&text)
                );
            }
            let jwt = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln";
            let around = [byte];
            let text = [filler.as_slice(), &around, jwt, &around].concat();
            let expected = [filler.as_slice(), &around, MASK.as_bytes(), &around].concat();
            assert_eq!(secrets.redact_bytes(&text), expected);
        }
    }
}

#[test]
fn a_secret_may_itself_hold_any_byte_that_is_not_ascii() {
    for byte in 0x80..=0xff_u8 {
        let value = [b"k3y-".as_slice(), &[byte, byte ^ 1], b"-tail"].concat();
        let secrets = Secrets::new(Rules::builtin());
        secrets.register(&value).unwrap();
        let text = [b"\xc3 ".as_slice(), &value, b" \xff"].concat();
        assert_eq!(secrets.redact_bytes(&text), b"\xc3 [redacted] \xff");
        let quoted = [b"password=\"".as_slice(), &value, b"\" x"].concat();
        assert_eq!(secrets.redact_bytes(&quoted), b"password=\"[redacted]\" x");
    }
}

#[test]
fn a_flush_in_the_middle_of_a_secret_shows_none_of_it() {
    // Concourse's timer wrote half a line out raw.
    let secrets = all_kinds();
    for (before, secret, after) in KINDS {
        let text = format!("see {before}{secret}{after} end\n");
        let begin = "see ".len() + before.len();
        for cut in 1..text.len() {
            let mut redactor = Redactor::new(&secrets);
            let mut out = Vec::new();
            redactor.push(&text.as_bytes()[..cut], &mut out);
            redactor.flush_partial(&mut out);
            // What is out now is the beginning of what it becomes: the key, the mask.
            let expected = format!("see {before}{MASK}{after} end\n");
            assert!(
                expected.as_bytes().starts_with(&out),
                "{text:?} cut at {cut}: {:?}",
                String::from_utf8_lossy(&out)
            );
            assert!(cut > begin || out.len() <= begin);
            redactor.push(&text.as_bytes()[cut..], &mut out);
            redactor.finish(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected, "cut at {cut}");
        }
    }
}

#[test]
fn a_token_shows_none_of_its_first_bytes_before_it_is_long_enough_to_be_one() {
    // pocketpaw printed a token up to the minimum of its pattern.
    let secrets = all_kinds();
    for token in [
        "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        crate::VALUE,
    ] {
        let mut redactor = Redactor::new(&secrets);
        let mut out = Vec::new();
        for byte in token.as_bytes() {
            redactor.push(&[*byte], &mut out);
            redactor.flush_partial(&mut out);
            let shown = String::from_utf8_lossy(&out);
            assert!(MASK.starts_with(&*shown), "{shown}");
        }
        redactor.finish(&mut out);
        assert_eq!(out, MASK.as_bytes());
    }
}

#[test]
fn three_writes_of_any_sizes_give_what_one_write_gives() {
    let secrets = all_kinds();
    let parts = KINDS
        .iter()
        .map(|(before, secret, after)| format!("{before}{secret}{after}\n"));
    let text: Vec<u8> = parts.collect::<String>().into_bytes();
    let whole = secrets.redact_bytes(&text);
    for first in (0..text.len()).step_by(3) {
        for second in (first..text.len()).step_by(7) {
            let mut redactor = Redactor::new(&secrets);
            let mut out = Vec::new();
            for part in [&text[..first], &text[first..second], &text[second..]] {
                redactor.push(part, &mut out);
                redactor.flush_partial(&mut out);
            }
            redactor.finish(&mut out);
            assert!(out == whole, "cut at {first} and {second}");
        }
    }
}

#[test]
fn after_a_forced_cut_a_token_ends_where_it_would_have_ended() {
    // Once the class of the bytes that go on was forgotten, and `_key` went too.
    let secrets = all_kinds();
    let long = "Q7".repeat(100_000);
    for (before, after) in [
        ("use ghp_", "_key tail"),
        ("use AKIA", "abc tail"),
        ("use npm_", "-x tail"),
        ("use hvs.", "+x tail"),
        ("got eyJ", "+x tail"),
        ("token=", "\" tail"),
        ("token=", "&page=2 tail"),
        ("token: \"", "\" tail"),
        ("token: '", "' tail"),
        ("\\\"token\\\":\\\"", "\\\", \\\"n\\\":1 tail"),
        ("x --token ", " tail"),
        ("Authorization: Basic ", " tail"),
        ("https://joe:", "/@x tail"),
    ] {
        let body = if before.ends_with("AKIA") {
            long.to_uppercase()
        } else {
            long.clone()
        };
        let text = format!("{before}{body}{after}\n");
        let kept = match before {
            "use ghp_" | "use AKIA" | "use npm_" | "use hvs." => "use ",
            "got eyJ" => "got ",
            kept => kept,
        };
        let expected = format!("{kept}{MASK}{after}\n");
        for size in [777, 4_096, 65_536, text.len()] {
            let mut redactor = Redactor::new(&secrets);
            let mut out = Vec::new();
            for part in text.as_bytes().chunks(size) {
                redactor.push(part, &mut out);
                redactor.flush_partial(&mut out);
            }
            redactor.finish(&mut out);
            assert_eq!(
                String::from_utf8_lossy(&out),
                expected,
                "{before} in {size}"
            );
        }
    }
}

#[test]
fn a_long_line_without_a_newline_gives_the_same_in_any_pieces() {
    let secrets = all_kinds();
    let mut text = Vec::new();
    for (index, (before, secret, after)) in KINDS.iter().cycle().take(60).enumerate() {
        text.extend(
            format!("{before}{secret}{after} ")
                .bytes()
                .map(|it| if it == b'\n' { b' ' } else { it }),
        );
        text.extend(vec![b'x'; 1_009 * (index % 7)]);
        text.extend([b' ', 0, 0xff, 0x1b]);
    }
    let whole = secrets.redact_bytes(&text);
    for size in [1, 13, 997, 65_535, 65_536, 65_537] {
        let mut redactor = Redactor::new(&secrets);
        let mut out = Vec::new();
        for part in text.chunks(size) {
            redactor.push(part, &mut out);
        }
        redactor.finish(&mut out);
        assert!(out == whole, "pieces of {size}");
    }
}
