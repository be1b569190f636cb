//! Seals what may hold secrets: AES-256-GCM under keys in a file of their own.
//!
//! New texts are sealed with the first key of the file and name it. While the key
//! is rotated there are older ones behind it; see `rotation`.

mod ring;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{OpenError, StoreError};
use ring::{KEY_ID_BYTES, Key, key_id};

/// Random for every text. Two equal ones under one key would be fatal; by
/// chance that is one in 2^32 after four billion texts.
const NONCE_BYTES: usize = 12;

/// The first byte of what was sealed before there could be two keys: nonce and
/// text follow.
const VERSION_WITHOUT_KEY: u8 = 1;

/// The first byte of everything that is sealed now: the key's id, nonce and text
/// follow.
const VERSION: u8 = 2;

/// Keys that are kept in memory after they left the file: whoever read a row just
/// before it was sealed anew can still open it.
const RETIRED_KEYS_MAX: usize = 2;

/// Seals and unseals. Holds the keys for as long as the store is open.
pub(crate) struct Sealer {
    path: PathBuf,
    /// The writer's thread changes it, everybody reads.
    keys: RwLock<Arc<Keys>>,
    /// Of its own, so that it outlives the key that it was made from.
    hash_key: Zeroizing<[u8; 32]>,
}

/// The keys as they are at a moment.
struct Keys {
    /// In the order of the file: the first one seals.
    in_file: Vec<Cipher>,
    /// Not in the file any more.
    retired: Vec<Cipher>,
}

#[derive(Clone)]
struct Cipher {
    id: [u8; KEY_ID_BYTES],
    key: Key,
    cipher: Aes256Gcm,
}

impl Cipher {
    fn new(key: Key) -> Self {
        Self {
            id: key_id(&key),
            cipher: Aes256Gcm::new((&*key).into()),
            key,
        }
    }
}

/// The key of hashes, as it was made before it was stored: from the key itself.
fn hash_key_from(key: &Key) -> Zeroizing<[u8; 32]> {
    let hash = Sha256::new()
        .chain_update(key.as_slice())
        .chain_update(b"danube keyed hash v1")
        .finalize();
    Zeroizing::new(hash.into())
}

impl Sealer {
    fn new(path: &Path, keys: Vec<Key>) -> Self {
        let oldest = keys.last().expect("a file of keys has one");
        Self {
            hash_key: hash_key_from(oldest),
            path: path.to_owned(),
            keys: RwLock::new(Arc::new(Keys {
                in_file: keys.into_iter().map(Cipher::new).collect(),
                retired: Vec::new(),
            })),
        }
    }

    /// Reads the key file, or makes one when `may_make`.
    pub(crate) fn open(path: &Path, may_make: bool) -> Result<Self, OpenError> {
        Ok(Self::new(path, ring::open(path, may_make)?))
    }

    /// The keys of a file with this content, which is said to lie at `path`.
    pub(crate) fn of_bytes(bytes: &[u8], path: &Path) -> Result<Self, OpenError> {
        Ok(Self::new(path, ring::parse(bytes, path)?))
    }

    /// Hashes with the key that was stored, sealed, from now on. False when that
    /// can't be opened.
    pub(crate) fn take_hash_key(&mut self, purpose: &str, sealed: &[u8]) -> bool {
        let plain = self.unseal(purpose, &[], sealed);
        let key = plain.and_then(|it| <[u8; 32]>::try_from(it.as_slice()).ok());
        if let Some(key) = key {
            self.hash_key = Zeroizing::new(key);
        }
        key.is_some()
    }

    /// The key of hashes, sealed, to be stored.
    pub(crate) fn sealed_hash_key(&self, purpose: &str) -> Result<Vec<u8>, StoreError> {
        self.seal(purpose, &[], &*self.hash_key)
    }

    /// Seals `plain`. Only `unseal` with the same purpose and owner opens it, so
    /// a sealed text moved to another row is noticed.
    pub(crate) fn seal(
        &self,
        purpose: &str,
        owner: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let keys = self.keys();
        let key = &keys.in_file[0];
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce)
            .map_err(|error| StoreError::Internal(format!("random numbers: {error}")))?;
        let aad = aad(VERSION, purpose, owner);
        let payload = Payload {
            msg: plain,
            aad: &aad,
        };
        let text = key
            .cipher
            .encrypt(&Nonce::from(nonce), payload)
            .map_err(|_| StoreError::Internal(format!("seal: {purpose}")))?;
        let mut sealed = Vec::with_capacity(1 + KEY_ID_BYTES + NONCE_BYTES + text.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&key.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// What was sealed; none when it was changed, moved, or sealed by a key that
    /// isn't there.
    pub(crate) fn unseal(&self, purpose: &str, owner: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys();
        let all = keys.in_file.iter().chain(&keys.retired);
        let (&version, rest) = sealed.split_first()?;
        let aad = aad(version, purpose, owner);
        match version {
            // It doesn't say which key.
            VERSION_WITHOUT_KEY => all.rev().find_map(|it| it.open(rest, &aad)),
            VERSION => {
                let (id, rest) = rest.split_first_chunk::<KEY_ID_BYTES>()?;
                all.into_iter()
                    .find(|it| it.id == *id)
                    .and_then(|it| it.open(rest, &aad))
            }
            _ => None,
        }
    }

    /// Whether it was sealed with the key that seals now.
    pub(crate) fn is_current(&self, sealed: &[u8]) -> bool {
        let keys = self.keys();
        matches!(sealed.split_first(), Some((&VERSION, rest)) if rest.starts_with(&keys.in_file[0].id))
    }

    /// Hexadecimal id of the key that seals now.
    pub(crate) fn key_id(&self) -> String {
        let id = self.keys().in_file[0].id;
        id.iter().map(|it| format!("{it:02x}")).collect()
    }

    /// Whether the file holds a key that something may still be sealed with.
    pub(crate) fn has_old_keys(&self) -> bool {
        self.keys().in_file.len() > 1
    }

    /// A new key seals from now on; those before it still open. It is on the disk
    /// when this returns. Only the writer's thread calls this.
    pub(crate) fn add_key(&self) -> std::io::Result<()> {
        let before = self.keys();
        let key = ring::new_key()?;
        let mut in_file = vec![Cipher::new(key)];
        in_file.extend(before.in_file.iter().cloned());
        self.replace(in_file, before.retired.clone())
    }

    /// Forgets all keys but the one that seals. Only the writer's thread calls
    /// this, once nothing is sealed with the others.
    pub(crate) fn drop_old_keys(&self) -> std::io::Result<()> {
        let before = self.keys();
        let (current, old) = before.in_file.split_at(1);
        let retired = old.iter().chain(&before.retired);
        let retired = retired.take(RETIRED_KEYS_MAX).cloned().collect();
        self.replace(current.to_vec(), retired)
    }

    fn replace(&self, in_file: Vec<Cipher>, retired: Vec<Cipher>) -> std::io::Result<()> {
        let keys: Vec<Key> = in_file.iter().map(|it| it.key.clone()).collect();
        ring::write(&self.path, &keys)?;
        let mut held = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        *held = Arc::new(Keys { in_file, retired });
        Ok(())
    }

    /// A hash that says nothing to whoever hasn't the key.
    pub(crate) fn hash(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.hash_key.as_slice());
        for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
            // With its length, so that no two lists of parts read alike.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn keys(&self) -> Arc<Keys> {
        let held = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&held)
    }
}

impl Cipher {
    fn open(&self, sealed: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: text, aad };
        self.cipher.decrypt(&Nonce::from(*nonce), payload).ok()
    }
}

/// What a sealed text of a row is bound to: bytes that no other row has, and no other version of
/// this one. Each part has its length in front, so that no two rows read alike.
pub(crate) fn owner(id: i64, version: i64, parts: &[&str]) -> Vec<u8> {
    let mut owner = Vec::new();
    owner.extend_from_slice(&id.to_be_bytes());
    owner.extend_from_slice(&version.to_be_bytes());
    for part in parts {
        owner.extend_from_slice(&(part.len() as u64).to_be_bytes());
        owner.extend_from_slice(part.as_bytes());
    }
    owner
}

fn aad(version: u8, purpose: &str, owner: &[u8]) -> Vec<u8> {
    let mut aad = format!("danube {purpose} v{version}\0").into_bytes();
    aad.extend_from_slice(owner);
    aad
}

#[cfg(test)]
mod tests {
    use super::ring::KEY_BYTES;
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(Path::new("/nowhere"), vec![Key::new([byte; KEY_BYTES])])
    }

    /// As the version before sealed it.
    fn sealed_without_key_id(byte: u8, purpose: &str, owner: &[u8], plain: &[u8]) -> Vec<u8> {
        let cipher = Aes256Gcm::new(&[byte; KEY_BYTES].into());
        let aad = aad(VERSION_WITHOUT_KEY, purpose, owner);
        let payload = Payload {
            msg: plain,
            aad: &aad,
        };
        let nonce = [7; NONCE_BYTES];
        let text = cipher.encrypt(&Nonce::from(nonce), payload).unwrap();
        [&[VERSION_WITHOUT_KEY][..], &nonce, &text].concat()
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
    fn what_the_version_before_sealed_comes_back() {
        let sealed = sealed_without_key_id(1, "order", b"a", b"text");
        assert_eq!(
            sealer(1).unseal("order", b"a", &sealed).unwrap(),
            b"text".to_vec()
        );
        assert!(!sealer(1).is_current(&sealed));
        assert_eq!(sealer(1).unseal("order", b"b", &sealed), None);
        assert_eq!(sealer(2).unseal("order", b"a", &sealed), None);
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

    #[test]
    fn a_new_key_seals_and_an_old_one_opens_until_it_is_dropped_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        let sealer = Sealer::open(&path, true).unwrap();
        let (id, hash) = (sealer.key_id(), sealer.hash("p", &[b"a"]));
        let old = sealer.seal("order", b"a", b"old").unwrap();
        assert!(sealer.is_current(&old) && !sealer.has_old_keys());
        let stored = sealer.sealed_hash_key("hash_key").unwrap();

        sealer.add_key().unwrap();
        assert_ne!(sealer.key_id(), id);
        assert!(!sealer.is_current(&old) && sealer.has_old_keys());
        let new = sealer.seal("order", b"a", b"new").unwrap();
        let mut again = Sealer::open(&path, false).unwrap();
        for it in [&sealer, &again] {
            assert_eq!(it.unseal("order", b"a", &old).unwrap(), b"old");
            assert_eq!(it.unseal("order", b"a", &new).unwrap(), b"new");
        }
        assert!(again.take_hash_key("hash_key", &stored));
        assert_eq!(again.hash("p", &[b"a"]), hash);
        assert!(!again.take_hash_key("other", &stored));

        let stored = sealer.sealed_hash_key("hash_key").unwrap();
        sealer.drop_old_keys().unwrap();
        assert_eq!(
            sealer.unseal("order", b"a", &old).unwrap(),
            b"old",
            "a reader has it"
        );
        let mut again = Sealer::open(&path, false).unwrap();
        assert_eq!(again.unseal("order", b"a", &old), None);
        assert_eq!(again.unseal("order", b"a", &new).unwrap(), b"new");
        assert!(again.take_hash_key("hash_key", &stored));
        assert_eq!(again.hash("p", &[b"a"]), hash, "hashes outlive the key");
    }
}
