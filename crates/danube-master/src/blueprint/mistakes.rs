//! What is wrong with a commit, as it is stored, told and shown.

use danube_api::{BlueprintError, BlueprintMistake};
use danube_model::{Mistakes, Timestamp};
use danube_redact::Secrets;
use danube_source::SourceError;

/// Mistakes that are kept: who has more corrects the first thousand first.
const MISTAKES_MAX: usize = 1_000;

/// Characters of what one says.
const MESSAGE_CHARS_MAX: usize = 500;

/// Mistakes that stand in a sentence.
const SAID_MAX: usize = 3;

/// Digits of a commit that people read.
const COMMIT_DIGITS: usize = 12;

/// A commit, for people.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..COMMIT_DIGITS).unwrap_or(commit)
}

/// What is wrong, with the first places, in one line.
pub(crate) fn sentence(error: &BlueprintError) -> String {
    let mut text = error.message.clone();
    for mistake in error.mistakes.iter().take(SAID_MAX) {
        text.push_str(&format!("; {}: {}", mistake.place(), mistake.message));
    }
    let more = error.mistakes.len().saturating_sub(SAID_MAX);
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

/// The files of a commit are wrong.
pub(super) fn of_files(commit: &str, wrong: &[Mistakes], secrets: &Secrets) -> BlueprintError {
    let mistakes: Vec<BlueprintMistake> = wrong
        .iter()
        .flat_map(|file| {
            let name = file.source.as_ref().map_or(".", |it| &it.name);
            file.list.iter().map(move |it| (name, it))
        })
        .map(|(file, it)| BlueprintMistake {
            file: cut(file),
            line: it.at.map(|at| at.line as u64),
            column: it.at.map(|at| at.column as u64),
            code: it.code.to_owned(),
            message: cut(&secrets.redact(&it.sentence())),
        })
        .take(MISTAKES_MAX)
        .collect();
    let all: usize = wrong.iter().map(|it| it.list.len()).sum();
    let count = match all {
        1 => "a mistake".to_owned(),
        all => format!("{all} mistakes"),
    };
    BlueprintError {
        at: Timestamp::now(),
        commit: Some(commit.to_owned()),
        message: format!("commit {} has {count}", short(commit)),
        mistakes,
    }
}

/// The repository couldn't be read, or its files not be taken out of it.
pub(super) fn of_source(error: &SourceError, secrets: &Secrets) -> BlueprintError {
    let message = cut(&secrets.redact(&error.to_string()));
    let code = match error {
        SourceError::TooLarge(_) => Some("blueprint.too_large"),
        SourceError::Entry { .. } => Some("blueprint.entry"),
        _ => None,
    };
    let Some(code) = code else {
        return away(message);
    };
    BlueprintError {
        mistakes: vec![BlueprintMistake {
            file: ".".to_owned(),
            line: None,
            column: None,
            code: code.to_owned(),
            message,
        }],
        ..away("the branch holds what isn't taken".to_owned())
    }
}

/// Nothing could be read at all.
pub(super) fn away(message: String) -> BlueprintError {
    BlueprintError {
        at: Timestamp::now(),
        commit: None,
        message,
        mistakes: Vec::new(),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS_MAX).collect()
}
