//! API keys: made once, shown once, kept as hashes.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use danube_blueprint::Permission;
use danube_model::Timestamp;
use danube_store::{KeyBounds, KeyId, KeyRecord, NewKey, Role, Store, StoreError};

use super::{Caller, Reach, Stranger, Wish, hash, is_token, token};
use crate::lock::write_whole;

/// What every key begins with, so that scanners and people recognise one.
const PREFIX: &str = "dnb_";

/// Characters of a key that are shown in lists.
const SHOWN_CHARS: usize = 10;

/// The name of the key that the first start makes.
const ADMIN_NAME: &str = "admin";

/// The keys that are valid now, by hash. The whole table is in memory: a
/// lookup costs one hash of the key and no read of the store.
#[derive(Default)]
pub(crate) struct Keys {
    by_hash: RwLock<HashMap<[u8; 32], Live>>,
    /// Held from the look at all keys to the end of a revocation, so that two
    /// admins can't revoke each other and leave nobody.
    pub(crate) revoking: tokio::sync::Mutex<()>,
}

/// A key that isn't revoked.
struct Live {
    /// The key's name.
    name: String,
    expires_at: Option<Timestamp>,
    caller: Caller,
}

impl Live {
    fn is_good(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|it| now < it)
    }
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
    pub(crate) fn new(name: &str, role: Role, bounds: KeyBounds) -> Self {
        let key = format!("{PREFIX}{}", token());
        let prefix = key.chars().take(SHOWN_CHARS).collect();
        let record = NewKey {
            name: name.to_owned(),
            role,
            prefix,
            sha256: hash(&key),
            bounds,
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
            Ok(text) if self.caller(text.trim()).is_ok() => {
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
                    bounds: KeyBounds::default(),
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
        let minted = MintedKey::new(ADMIN_NAME, Role::Admin, KeyBounds::default());
        write_whole(path, &format!("{}\n", minted.key), 0o600)?;
        self.learn(&store.create_key(minted.record).wait()?);
        Ok(AdminKey { is_new: true })
    }

    /// Who has this key.
    pub(crate) fn caller(&self, key: &str) -> Result<Caller, Stranger> {
        // The lookup compares hashes, so its time tells nothing of the keys.
        let keys = self.by_hash.read().unwrap_or_else(PoisonError::into_inner);
        let live = keys.get(&hash(key)).ok_or(Stranger::Unknown)?;
        match live.expires_at {
            Some(at) if !live.is_good(Timestamp::now()) => {
                Err(Stranger::Expired(live.name.clone(), at))
            }
            _ => Ok(live.caller.clone()),
        }
    }

    /// Who opened a session with this key, while it is good.
    pub(crate) fn of_session(&self, key: KeyId) -> Option<Caller> {
        let keys = self.by_hash.read().unwrap_or_else(PoisonError::into_inner);
        let live = keys.values().find(|it| it.caller.key == Some(key))?;
        let caller = live.caller.clone();
        live.is_good(Timestamp::now()).then_some(Caller {
            by_session: true,
            ..caller
        })
    }

    /// How many good keys this user has got.
    pub(crate) fn of_user(&self, user: &str) -> usize {
        let (keys, now) = (&self.by_hash, Timestamp::now());
        let keys = keys.read().unwrap_or_else(PoisonError::into_inner);
        let own = |it: &&Live| it.caller.user.as_deref() == Some(user) && it.is_good(now);
        keys.values().filter(own).count()
    }

    /// A key became valid or was revoked.
    pub(crate) fn learn(&self, record: &KeyRecord) {
        let mut keys = self.by_hash.write().unwrap_or_else(PoisonError::into_inner);
        if record.revoked_at.is_some() {
            keys.remove(&record.sha256);
            return;
        }
        let bounds = &record.bounds;
        if bounds.user.is_some() {
            // The store forgets them as well.
            let now = Timestamp::now();
            keys.retain(|_, it| it.caller.user.is_none() || it.is_good(now));
        }
        let caller = Caller {
            name: bounds.account.as_ref().unwrap_or(&record.name).clone(),
            owner: owner(record),
            key: Some(record.id),
            user: bounds.user.clone(),
            role: record.role,
            reach: Reach::all(cap(record.role)).within(bounds.pipelines.as_ref()),
            wish: Wish::LOOK,
            by_session: false,
        };
        let live = Live {
            name: record.name.clone(),
            expires_at: bounds.expires_at,
            caller,
        };
        keys.insert(record.sha256, live);
    }

    fn has_admin(&self) -> bool {
        let keys = self.by_hash.read().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        keys.values()
            .any(|it| it.caller.role == Role::Admin && it.is_good(now))
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

/// What the holder of a key is called for as long as the key lives, or for as long as its
/// account has keys.
fn owner(record: &KeyRecord) -> String {
    match &record.bounds.account {
        Some(account) => format!("account-{account}"),
        None => format!("key-{}", record.id.0),
    }
}

/// What a key may do with the pipelines that it reaches.
const fn cap(role: Role) -> Permission {
    match role {
        Role::Viewer => Permission::Read,
        Role::Member => Permission::Write,
        Role::Admin => Permission::Admin,
    }
}

/// Whether a text has the form of a key of ours.
fn is_key(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(is_token)
}
