//! Every form in which a registered value may be printed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use danube_redact::{MASK, Rules, Secrets};

/// Signs that every encoding writes in its own way.
const ODD: &str = "tr0ub4dor&3/x+\"q'$ z%\\e\u{e4}<y>";

fn secrets() -> Secrets {
    let secrets = Secrets::new(Rules::none());
    secrets.register(ODD.as_bytes()).unwrap();
    secrets
}

#[track_caller]
fn is_hidden(form: &str) {
    for (before, after) in [
        ("", ""),
        ("x=", ";y"),
        ("\"", "\""),
        ("\u{1b}[1m", "\u{1b}[0m"),
    ] {
        let shown = secrets().redact(&format!("{before}{form}{after}\n"));
        assert_eq!(shown, format!("{before}{MASK}{after}\n"), "{form}");
    }
}

#[test]
fn a_value_is_hidden_plain_and_in_every_escaping() {
    for form in [
        ODD,
        // URL: a component, lower case, a form, a path.
        "tr0ub4dor%263%2Fx%2B%22q%27%24%20z%25%5Ce%C3%A4%3Cy%3E",
        "tr0ub4dor%263%2fx%2b%22q%27%24%20z%25%5ce%c3%a4%3cy%3e",
        "tr0ub4dor%263%2Fx%2B%22q%27%24+z%25%5Ce%C3%A4%3Cy%3E",
        "tr0ub4dor%263%2Fx%2B%22q'%24%20z%25%5Ce%C3%A4%3Cy%3E",
        "tr0ub4dor%263/x%2B%22q%27%24%20z%25%5Ce%C3%A4%3Cy%3E",
        // JSON: plain, all ASCII, safe for HTML, with `\/`, JSON in JSON.
        "tr0ub4dor&3/x+\\\"q'$ z%\\\\e\u{e4}<y>",
        "tr0ub4dor&3/x+\\\"q'$ z%\\\\e\\u00e4<y>",
        "tr0ub4dor\\u00263/x+\\\"q'$ z%\\\\e\u{e4}\\u003cy\\u003e",
        "tr0ub4dor&3\\/x+\\\"q'$ z%\\\\e\u{e4}<y>",
        "tr0ub4dor&3/x+\\\\\\\"q'$ z%\\\\\\\\e\u{e4}<y>",
        // HTML.
        "tr0ub4dor&amp;3/x+&quot;q&#39;$ z%\\e\u{e4}&lt;y&gt;",
        // Shell: single quotes (two ways), double quotes, backslashes.
        "tr0ub4dor&3/x+\"q'\\''$ z%\\e\u{e4}<y>",
        "tr0ub4dor&3/x+\"q'\"'\"'$ z%\\e\u{e4}<y>",
        "tr0ub4dor&3/x+\\\"q'\\$ z%\\\\e\u{e4}<y>",
        "tr0ub4dor\\&3/x+\\\"q\\'\\$\\ z%\\\\e\u{e4}\\<y\\>",
    ] {
        is_hidden(form);
    }
    let hex: String = ODD.bytes().map(|it| format!("{it:02x}")).collect();
    is_hidden(&hex);
    is_hidden(&hex.to_uppercase());
}

#[test]
fn base64_hides_the_value_with_anything_before_and_behind_it() {
    let secrets = secrets();
    for before in ["", "u", "us", "user:", "\u{0}\u{1}", "{\"key\":\""] {
        for after in ["", "\n", "!", "\"}", "suffix"] {
            let text = [before, ODD, after].concat();
            let (from, to) = (before.len() * 8, (before.len() + ODD.len()) * 8);
            for coded in [
                STANDARD.encode(&text),
                URL_SAFE.encode(&text),
                URL_SAFE_NO_PAD.encode(&text),
            ] {
                // What only the value decides; nothing else may go but the two
                // characters that it shares with its neighbours.
                let core = &coded[from.div_ceil(6)..to / 6];
                let shown = secrets.redact(&format!("data:{coded};\n"));
                assert!(!shown.contains(core), "{before:?} {after:?}: {shown}");
                let kept = (&coded[..from / 6], &coded[to.div_ceil(6)..]);
                assert!(shown.starts_with(&format!("data:{}", kept.0)), "{shown}");
                assert!(shown.ends_with(&format!("{};\n", kept.1)), "{shown}");
                assert!(shown.contains(MASK));
            }
        }
    }
}

#[test]
fn forms_beside_each_other_become_one_mask_and_the_text_around_stays() {
    let secrets = secrets();
    let hex: String = ODD.bytes().map(|it| format!("{it:02x}")).collect();
    assert_eq!(
        secrets.redact(&format!("a {ODD}{hex}{ODD} b {hex}, {ODD}\n")),
        "a [redacted] b [redacted], [redacted]\n"
    );
}

#[test]
fn a_value_with_escape_sequences_inside_is_hidden_in_every_encoding() {
    let secrets = secrets();
    let hex: String = ODD.bytes().map(|it| format!("{it:02x}")).collect();
    for form in [ODD.to_owned(), STANDARD.encode(ODD), hex] {
        for code in [
            "\u{1b}[31m",
            "\u{1b}[0m\u{1b}[1;32m",
            "\u{1b}]8;;http://x\u{7}",
            "\u{1b}(B",
        ] {
            for at in [1, form.len() / 2, form.len() - 3] {
                let Some((left, right)) = form.split_at_checked(at) else {
                    continue;
                };
                let shown = secrets.redact(&format!("> {left}{code}{right}"));
                // The last characters of base64 may belong to a neighbour.
                assert!(shown.starts_with("> [redacted]"), "{shown:?}");
                assert!(
                    shown.len() <= "> [redacted]".len() + code.len() + 4,
                    "{shown:?}"
                );
            }
            let each: String = form.chars().map(|it| format!("{it}{code}")).collect();
            let shown = secrets.redact(&each);
            assert!(shown.starts_with(MASK), "{shown:?}");
        }
    }
}

#[test]
fn a_value_of_many_lines_is_hidden_in_its_encodings() {
    let value = "first-line-of-a-key-5y\nsecond-line-of-a-key-8w\r\n}\nlast-line-of-a-key-3k";
    let secrets = Secrets::new(Rules::none());
    secrets.register(value.as_bytes()).unwrap();
    let json = value.replace('\r', "\\r").replace('\n', "\\n");
    let percent = value
        .replace('\r', "%0D")
        .replace('\n', "%0A")
        .replace('}', "%7D");
    let hex: String = value.bytes().map(|it| format!("{it:02x}")).collect();
    for form in [value, &json, &percent, &hex] {
        assert_eq!(secrets.redact(&format!("<{form}>")), "<[redacted]>");
    }
    let coded = STANDARD.encode(format!("u:{value}\n"));
    let shown = secrets.redact(&coded);
    assert!(shown.len() < coded.len() / 2, "{shown}");
}

#[test]
fn what_a_job_hides_on_purpose_is_not_found() {
    // The documentation says so; no masker could.
    let secrets = secrets();
    let backwards: String = ODD.chars().rev().collect();
    let twice = STANDARD.encode(STANDARD.encode(ODD));
    for form in [backwards, twice] {
        assert_eq!(secrets.redact(&form), form);
    }
}
