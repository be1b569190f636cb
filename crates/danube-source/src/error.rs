//! Why a source couldn't be fetched, in sentences for people.
//!
//! No message holds a secret or the query of an address: what git and servers
//! say is cut, and stripped of control characters.

use std::io;

/// Why a source couldn't be fetched.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The job was cancelled meanwhile.
    #[error("the job was cancelled while its source was fetched")]
    Cancelled,
    /// It took longer than it may.
    #[error("{what} didn't end in time")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
    },
    /// The operator doesn't allow it.
    #[error("{0}")]
    NotAllowed(String),
    /// git couldn't read the repository.
    #[error("git couldn't fetch {what} from {location}: {why}")]
    Git {
        /// The ref that was asked for.
        what: String,
        /// The repository, without user and query.
        location: String,
        /// What git said last.
        why: String,
    },
    /// A file couldn't be downloaded.
    #[error("{location} couldn't be downloaded: {why}")]
    Download {
        /// The address, without user and query.
        location: String,
        /// What happened.
        why: String,
    },
    /// The file isn't the one that was asked for.
    #[error(
        "{location} isn't what was expected: its {algorithm} is {found}, and should be {expected}; nothing of it was used"
    )]
    Checksum {
        /// The address, without user and query.
        location: String,
        /// `SHA-256` or `SHA-1`.
        algorithm: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// An archive holds what isn't unpacked.
    #[error("the archive holds {entry:?}, {why}; nothing of it was kept")]
    Entry {
        /// The entry's name, cut.
        entry: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An archive can't be read.
    #[error("the archive can't be read: {0}")]
    Archive(String),
    /// The source is too large.
    #[error("the source is too large: {0}")]
    TooLarge(String),
    /// The source has no such playbook.
    #[error("the source has no playbook `{path}`{near}")]
    NoPlaybook {
        /// The path that was asked for.
        path: String,
        /// What is there instead, as the end of the sentence.
        near: String,
    },
    /// This machine didn't let us.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: io::Error,
    },
}

/// Characters of a name in a message: enough to find it.
const SHOWN_CHARS_MAX: usize = 120;

impl SourceError {
    pub(crate) fn entry(name: &[u8], why: &'static str) -> Self {
        let entry = String::from_utf8_lossy(name)
            .chars()
            .take(SHOWN_CHARS_MAX)
            .collect();
        Self::Entry { entry, why }
    }

    pub(crate) fn too_many(most: usize) -> Self {
        Self::TooLarge(format!("more than {most} files, directories and links"))
    }

    /// Says what was tried when `io::Error` is all that is known.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { what, error }
    }
}
