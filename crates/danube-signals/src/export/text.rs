//! Small pieces of text that several files share.

use crate::declared::State;

/// First words of every file but the reference page.
pub(super) const WRITTEN_BY: &str = "Written by `danube signals export` from the declarations in";

/// Where the declarations are.
pub(super) const DECLARATIONS: &str = "crates/danube-signals; change them there and export again.";

/// The comment at the head of a file whose comments begin with `#`, then what the file is
/// for, a line each.
pub(super) fn head(about: &[&str]) -> String {
    let mut out = format!("# {WRITTEN_BY}\n# {DECLARATIONS}\n#\n");
    for line in about {
        out.push_str(format!("# {line}").trim_end());
        out.push('\n');
    }
    out.push('\n');
    out
}

/// The same for formats without comments.
pub(super) fn description(about: &str) -> String {
    format!("{about} {WRITTEN_BY} {DECLARATIONS}")
}

/// A string for YAML, in double quotes: what JSON writes, YAML reads.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// JSON as it is committed: indented, with a line end behind it.
pub(super) fn json(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

/// The part that a signal waits for, when it isn't live.
pub(super) fn waits_for(state: State) -> Option<&'static str> {
    match state {
        State::Live => None,
        State::NotYet(part) => Some(part),
    }
}
