//! Seals what may hold secrets: AES-256-GCM under a key in a file of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use sha2::{Digest, Sha256};

use crate::open::refused;
use crate::{OpenError, StoreError};

const KEY_BYTES: usize = 32;

/// Random for every text. Two equal ones under one key would be fatal; by
/// chance that is one in 2^32 after four billion texts.
const NONCE_BYTES: usize = 12;

/// The first byte of everything sealed, so that another way can follow.
const VERSION: u8 = 1;

/// Seals and unseals. Holds the key for as long as the store is open.
pub(crate) struct Sealer {
    cipher: Aes256Gcm,
    hash_key: [u8; 32],
}

impl Sealer {
    fn new(key: &[u8; KEY_BYTES]) -> Self {
        let hash_key = Sha256::new()
            .chain_update(key)
            .chain_update(b"danube keyed hash v1")
            .finalize();
        Self {
            cipher: Aes256Gcm::new(key.into()),
            hash_key: hash_key.into(),
        }
    }

    /// Reads the key file, or makes one when `may_make`.
    pub(crate) fn open(path: &Path, may_make: bool) -> Result<Self, OpenError> {
        match File::open(path) {
            Ok(file) => read_key(&file, path).map(|key| Self::new(&key)),
            Err(error) if error.kind() == ErrorKind::NotFound && may_make => {
                let key = make_key(path).map_err(|error| refused("make", path, &error))?;
                Ok(Self::new(&key))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Err(OpenError::SealKeyMissing {
                path: path.to_owned(),
            }),
            Err(error) => Err(refused("open", path, &error)),
        }
    }

    /// Seals `plain`. Only `unseal` with the same purpose and owner opens it, so
    /// a sealed text moved to another row is noticed.
    pub(crate) fn seal(
        &self,
        purpose: &str,
        owner: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce)
            .map_err(|error| StoreError::Internal(format!("random numbers: {error}")))?;
        let aad = aad(purpose, owner);
        let payload = Payload {
            msg: plain,
            aad: &aad,
        };
        let text = self
            .cipher
            .encrypt(&Nonce::from(nonce), payload)
            .map_err(|_| StoreError::Internal("seal an order".into()))?;
        let mut sealed = Vec::with_capacity(1 + NONCE_BYTES + text.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// What was sealed; none when it was changed, moved, or sealed by another key.
    pub(crate) fn unseal(&self, purpose: &str, owner: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (&VERSION, rest) = sealed.split_first()? else {
            return None;
        };
        let (nonce, text) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let aad = aad(purpose, owner);
        let payload = Payload {
            msg: text,
            aad: &aad,
        };
        self.cipher.decrypt(&Nonce::from(*nonce), payload).ok()
    }

    /// A hash that says nothing to whoever hasn't the key.
    pub(crate) fn hash(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.hash_key);
        for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
            // With its length, so that no two lists of parts read alike.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

fn aad(purpose: &str, owner: &[u8]) -> Vec<u8> {
    let mut aad = format!("danube {purpose} v{VERSION}\0").into_bytes();
    aad.extend_from_slice(owner);
    aad
}

fn read_key(mut file: &File, path: &Path) -> Result<[u8; KEY_BYTES], OpenError> {
    let meta = file
        .metadata()
        .map_err(|error| refused("read", path, &error))?;
    let mode = meta.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(OpenError::SealKeyExposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut key = [0; KEY_BYTES];
    let wrong = || OpenError::SealKeyWrong {
        path: path.to_owned(),
    };
    if meta.len() != KEY_BYTES as u64 {
        return Err(wrong());
    }
    file.read_exact(&mut key).map_err(|_| wrong())?;
    Ok(key)
}

/// A new key, on the disk before anything is sealed with it: a crash must not
/// leave sealed rows without their key, nor half a key.
fn make_key(path: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(std::io::Error::other)?;
    let draft = path.with_extension("key.new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    let dir = path.parent().expect("the key lies in a directory");
    File::open(dir)?.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&[byte; KEY_BYTES])
    }

    #[test]
    fn what_was_sealed_comes_back() {
        let sealed = sealer(1).seal("order", b"a", b"text").unwrap();
        assert_eq!(
            sealer(1).unseal("order", b"a", &sealed).unwrap(),
            b"text".to_vec()
        );
    }

    #[test]
    fn equal_texts_are_sealed_differently() {
        let sealer = sealer(1);
        let first = sealer.seal("order", b"a", b"text").unwrap();
        assert_ne!(first, sealer.seal("order", b"a", b"text").unwrap());
    }

    #[test]
    fn a_sealed_text_that_was_changed_or_moved_is_refused() {
        let sealed = sealer(1).seal("order", b"a", b"text").unwrap();
        assert_eq!(sealer(2).unseal("order", b"a", &sealed), None, "other key");
        assert_eq!(sealer(1).unseal("order", b"b", &sealed), None, "other job");
        assert_eq!(sealer(1).unseal("check", b"a", &sealed), None, "other use");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(sealer(1).unseal("order", b"a", &changed), None, "byte {at}");
            assert_eq!(sealer(1).unseal("order", b"a", &sealed[..at]), None);
        }
    }

    #[test]
    fn hashes_tell_parts_and_keys_apart() {
        let hash = |parts: &[&[u8]]| sealer(1).hash("p", parts);
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_ne!(hash(&[b"a"]), sealer(2).hash("p", &[b"a"]));
        assert_ne!(hash(&[b"a"]), sealer(1).hash("q", &[b"a"]));
    }
}
