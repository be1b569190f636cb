//! The token with which a registry tells us what happened to images.

use std::fs;
use std::io;
use std::path::Path;

use crate::auth::{hash, is_token, token};
use crate::lock::write_whole;

/// What it begins with, so that scanners and people recognise one.
const PREFIX: &str = "dnr_";

/// Its file in the data directory, readable by the owner alone.
const FILE: &str = "registry.token";

/// A token, as far as it has to be known: its hash.
pub(super) struct Token([u8; 32]);

impl Token {
    /// The one of the data directory, which is made if there is none; `mask` keeps it out of
    /// the log. Its text comes with it. To have a new one, delete the file and start again.
    pub(super) fn of(dir: &Path, mask: &dyn Fn(&[u8])) -> io::Result<(Self, String)> {
        let path = dir.join(FILE);
        let found = match fs::read_to_string(&path) {
            Ok(text) => Some(text).filter(|it| is_ours(it.trim())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let token = match found {
            Some(text) => text.trim().to_owned(),
            None => {
                let made = format!("{PREFIX}{}", token());
                write_whole(&path, &format!("{made}\n"), 0o600)?;
                made
            }
        };
        mask(token.as_bytes());
        Ok((Self(hash(&token)), token))
    }

    /// Whether this is it.
    pub(super) fn is(&self, shown: &str) -> bool {
        self.0 == hash(shown)
    }
}

/// Whether a text has the form of a token: a file that was cut is none.
fn is_ours(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stays_and_a_cut_one_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Token::of(dir.path(), &|_| ()).unwrap().0;
        let read = || fs::read_to_string(dir.path().join(FILE)).unwrap();
        let first = open();
        let text = read();
        assert!(first.is(text.trim()) && open().is(text.trim()));
        assert!(!first.is("") && !first.is(&text.trim()[1..]));
        fs::write(dir.path().join(FILE), &text[..10]).unwrap();
        let other = open();
        assert!(!other.is(text.trim()) && !other.is(&text[..10]) && other.is(read().trim()));
    }
}
