//! API keys: made once, shown once, kept as hashes.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use danube_store::{KeyRecord, NewKey, Role, Store, StoreError};
use sha2::{Digest, Sha256};

use super::{Caller, random};
use crate::lock::write_whole;

/// What every key begins with, so that scanners and people recognise one.
const PREFIX: &str = "dnb_";

/// Random bytes of a key.
const KEY_BYTES: usize = 32;

/// Characters of a key that are shown in lists.
const SHOWN_CHARS: usize = 10;

/// The name of the key that the first start makes.
const ADMIN_NAME: &str = "admin";

/// The keys that are valid now, by hash. The whole table is in memory: a
/// lookup costs one hash of the key and no read of the store.
#[derive(Default)]
pub(crate) struct Keys {
    by_hash: RwLock<HashMap<[u8; 32], Caller>>,
    /// Held from the look at all keys to the end of a revocation, so that two
    /// admins can't revoke each other and leave nobody.
    pub(crate) revoking: tokio::sync::Mutex<()>,
}

/// A key that nobody has seen yet.
pub(crate) struct MintedKey {
    /// The key itself. Shown once.
    pub(crate) key: String,
    /// What the store keeps.
    pub(crate) record: NewKey,
}

impl MintedKey {
    /// A new key with 256 random bits.
    pub(crate) fn new(name: &str, role: Role) -> Self {
        let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random::<KEY_BYTES>()));
        let prefix = key.chars().take(SHOWN_CHARS).collect();
        let record = NewKey {
            name: name.to_owned(),
            role,
            prefix,
            sha256: hash(&key),
        };
        Self { key, record }
    }
}

/// The admin key that was there or has just been made.
pub(crate) struct AdminKey {
    /// It was made by this start.
    pub(crate) is_new: bool,
}

impl Keys {
    /// Reads the keys of the store.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let keys = Self::default();
        for record in store.keys()? {
            keys.learn(&record);
        }
        Ok(keys)
    }

    /// Makes the admin key at the first start: file first, so that no key is
    /// valid that nobody can read.
    pub(crate) fn ensure_admin(
        &self,
        store: &Store,
        path: &Path,
    ) -> Result<AdminKey, AdminKeyError> {
        match fs::read_to_string(path) {
            Ok(text) if self.caller(text.trim()).is_some() => {
                return Ok(AdminKey { is_new: false });
            }
            Ok(text) if is_key(text.trim()) && store.keys()?.is_empty() => {
                // A start that was killed between the file and the store.
                let key = text.trim();
                let prefix = key.chars().take(SHOWN_CHARS).collect();
                let record = NewKey {
                    name: ADMIN_NAME.to_owned(),
                    role: Role::Admin,
                    prefix,
                    sha256: hash(key),
                };
                self.learn(&store.create_key(record).wait()?);
                return Ok(AdminKey { is_new: true });
            }
            Ok(_) if self.has_admin() => return Ok(AdminKey { is_new: false }),
            // Not a key, or none that is known: a new one takes its place.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        if self.has_admin() {
            // The operator took the file away; other admin keys remain.
            return Ok(AdminKey { is_new: false });
        }
        let minted = MintedKey::new(ADMIN_NAME, Role::Admin);
        write_whole(path, &format!("{}\n", minted.key), 0o600)?;
        self.learn(&store.create_key(minted.record).wait()?);
        Ok(AdminKey { is_new: true })
    }

    /// Who has this key.
    pub(crate) fn caller(&self, key: &str) -> Option<Caller> {
        // The lookup compares hashes, so its time tells nothing of the keys.
        let keys = self.by_hash.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(&hash(key)).cloned()
    }

    /// A key became valid or was revoked.
    pub(crate) fn learn(&self, record: &KeyRecord) {
        let mut keys = self.by_hash.write().unwrap_or_else(PoisonError::into_inner);
        if record.revoked_at.is_some() {
            keys.remove(&record.sha256);
            return;
        }
        let caller = Caller {
            name: record.name.clone(),
            owner: owner(record),
            role: record.role,
            by_session: false,
        };
        keys.insert(record.sha256, caller);
    }

    fn has_admin(&self) -> bool {
        let keys = self.by_hash.read().unwrap_or_else(PoisonError::into_inner);
        keys.values().any(|it| it.role == Role::Admin)
    }
}

/// Why there is no admin key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminKeyError {
    /// The file can't be read or written.
    #[error("admin key file: {0}")]
    Io(#[from] io::Error),
    /// The store refused.
    #[error("store the admin key: {0}")]
    Store(#[from] StoreError),
}

/// What the holder of a key is called for as long as the key lives.
pub(crate) fn owner(record: &KeyRecord) -> String {
    format!("key-{}", record.id.0)
}

/// Whether a text has the form of a key of ours.
fn is_key(text: &str) -> bool {
    let random = text
        .strip_prefix(PREFIX)
        .and_then(|it| URL_SAFE_NO_PAD.decode(it).ok());
    random.is_some_and(|it| it.len() == KEY_BYTES)
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}
