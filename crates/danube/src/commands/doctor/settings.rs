//! The settings themselves: every mistake, wherever it stands.

use std::path::Path;

use super::found::Found;

/// Mistakes that are shown here; the rest is counted.
const SHOWN_MAX: usize = 5;

pub(super) fn settings(mistakes: &[String], file: Option<&Path>) -> Found {
    let from = file.map_or_else(
        || "no settings file; defaults and variables".to_owned(),
        |it| it.display().to_string(),
    );
    if mistakes.is_empty() {
        return Found::fine(from);
    }
    let mut said = mistakes[..mistakes.len().min(SHOWN_MAX)].join("; ");
    let more = mistakes.len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        said.push_str(&format!("; {more} more"));
    }
    Found::wrong(
        format!("{from}: {said}"),
        "`danube config show` shows them in their place, `danube config default` every option",
    )
}
