//! The file of the sealing keys: the one in use first, then older ones that
//! something may still be sealed with.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::OpenError;
use crate::open::refused;

/// Bytes of a key: AES-256.
pub(super) const KEY_BYTES: usize = 32;

/// Keys in the file at once. A rotation adds one and removes all others at its
/// end, and none begins before the one before has ended.
const KEYS_MAX: usize = 4;

/// Bytes of the largest file.
const FILE_BYTES_MAX: usize = KEYS_MAX * KEY_BYTES;

/// Bytes by which a sealed text names its key.
pub(super) const KEY_ID_BYTES: usize = 8;

/// One key. Wiped when it goes.
pub(crate) type Key = Zeroizing<[u8; KEY_BYTES]>;

/// What a sealed text names its key by: says nothing of the key.
pub(super) fn key_id(key: &Key) -> [u8; KEY_ID_BYTES] {
    let hash = Sha256::new()
        .chain_update(key.as_slice())
        .chain_update(b"danube key id v1")
        .finalize();
    let mut id = [0; KEY_ID_BYTES];
    id.copy_from_slice(&hash[..KEY_ID_BYTES]);
    id
}

/// A key that nobody had before.
pub(super) fn new_key() -> std::io::Result<Key> {
    let mut key = Key::new([0; KEY_BYTES]);
    getrandom::fill(&mut *key).map_err(std::io::Error::other)?;
    Ok(key)
}

/// Reads the file, or makes one with a new key when `may_make`. At least one key.
pub(super) fn open(path: &Path, may_make: bool) -> Result<Vec<Key>, OpenError> {
    match File::open(path) {
        Ok(file) => read(&file, path),
        Err(error) if error.kind() == ErrorKind::NotFound && may_make => {
            let made = new_key().and_then(|key| {
                let keys = vec![key];
                write(path, &keys)?;
                Ok(keys)
            });
            made.map_err(|error| refused("make", path, &error))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Err(OpenError::SealKeyMissing {
            path: path.to_owned(),
        }),
        Err(error) => Err(refused("open", path, &error)),
    }
}

fn read(file: &File, path: &Path) -> Result<Vec<Key>, OpenError> {
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
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX + 1));
    // One byte more than may be there tells that there is more.
    file.take(FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| refused("read", path, &error))?;
    parse(&bytes, path)
}

/// The keys of a file with this content. `path` is only told in errors.
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Vec<Key>, OpenError> {
    let wrong = || OpenError::SealKeyWrong {
        path: path.to_owned(),
    };
    let (whole, rest) = bytes.as_chunks::<KEY_BYTES>();
    if whole.is_empty() || whole.len() > KEYS_MAX || !rest.is_empty() {
        return Err(wrong());
    }
    let mut keys: Vec<Key> = Vec::with_capacity(KEYS_MAX);
    for key in whole {
        let key = Key::new(*key);
        if keys.contains(&key) {
            return Err(wrong());
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Puts these keys in the place of those in the file: on the disk before anything
/// is sealed with them. A crash leaves the old file or the new one, never half of
/// one.
pub(super) fn write(path: &Path, keys: &[Key]) -> std::io::Result<()> {
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
    for key in keys {
        file.write_all(&**key)?;
    }
    file.sync_all()?;
    fs::rename(&draft, path)?;
    let dir = path.parent().expect("the key lies in a directory");
    File::open(dir)?.sync_all()
}
