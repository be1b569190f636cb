//! The key that signs: `provenance.key`, made when it is first needed. `provenance.pub` holds the
//! public half of each that there ever was, the newest first. To have a new one, move the file
//! away: the next use makes it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::dsse::{PublicKey, SigningKey};
use crate::lock::write_whole;

/// The private key.
const FILE: &str = "provenance.key";

/// All public keys, as PEM.
const PUBLIC_FILE: &str = "provenance.pub";

/// The keys of a data directory.
pub(crate) struct Keys {
    dir: PathBuf,
    /// Held while the files are looked at, so that two don't make two keys.
    turn: Mutex<()>,
}

impl Keys {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            turn: Mutex::new(()),
        }
    }

    /// The key that signs now. It blocks.
    pub(super) fn signing(&self) -> io::Result<SigningKey> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.dir.join(FILE);
        let key = match fs::read_to_string(&path) {
            Ok(text) => SigningKey::of_pem(&text)
                .map_err(|why| io::Error::other(format!("{}: {why}", path.display())))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (key, text) = SigningKey::make();
                write_whole(&path, &*text, 0o600)?;
                key
            }
            Err(error) => return Err(error),
        };
        self.note(key.public())?;
        Ok(key)
    }

    /// All public keys as PEM, that which signs now first. It blocks.
    pub(crate) fn public(&self) -> io::Result<String> {
        self.signing()?;
        fs::read_to_string(self.dir.join(PUBLIC_FILE))
    }

    /// Has the public key stand before all others.
    fn note(&self, key: PublicKey) -> io::Result<()> {
        let path = self.dir.join(PUBLIC_FILE);
        let known = match fs::read_to_string(&path) {
            Ok(text) => PublicKey::all_of_pem(&text).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        if known.first() == Some(&key) {
            return Ok(());
        }
        let others = known.iter().filter(|it| **it != key);
        let all: String = std::iter::once(&key)
            .chain(others)
            .map(PublicKey::pem)
            .collect();
        write_whole(&path, &all, 0o644)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_old_ones_stay_known() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::new(dir.path());
        let first = keys.signing().unwrap().public();
        assert_eq!(keys.signing().unwrap().public(), first);
        let file = dir.path().join(FILE);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_file(&file).unwrap();
        let second = keys.signing().unwrap().public();
        assert_ne!(first, second);
        let all = PublicKey::all_of_pem(&keys.public().unwrap());
        assert_eq!(all, Ok(vec![second, first]));
        fs::write(&file, "nonsense").unwrap();
        assert!(keys.signing().is_err(), "it is never written over");
    }
}
