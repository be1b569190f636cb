//! The key that `danube login` got: one file in the configuration directory, for its owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::failure::Failure;

/// Bytes of the file; it has some two hundred.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// Who is logged in, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    /// The server's address.
    pub(crate) server: String,
    /// The key.
    pub(crate) key: String,
    /// The user.
    pub(crate) user: String,
    /// When the key is good no more.
    pub(crate) expires_at: Timestamp,
}

impl Login {
    /// The one there is.
    pub(crate) fn read() -> Result<Option<Self>, Failure> {
        let Some(path) = path() else { return Ok(None) };
        let mut text = String::new();
        let read =
            File::open(&path).and_then(|it| it.take(FILE_BYTES_MAX).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path, &error)),
            Ok(_) => {}
        }
        // What the parser says may repeat the key.
        serde_json::from_str(&text).map(Some).map_err(|_| {
            failed("read", &path, &"it isn't what `danube login` writes")
                .hint("delete it and log in again")
        })
    }

    /// Puts it down, in place of another.
    pub(crate) fn save(&self) -> Result<(), Failure> {
        let path = path().ok_or_else(|| {
            Failure::usage("there is no home directory to keep the key in")
                .hint("set HOME or XDG_CONFIG_HOME")
        })?;
        let text = serde_json::to_string(self).expect("texts and a time");
        let write = || {
            let dir = path.parent().unwrap_or(&path);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)?;
            let draft = path.with_extension("new");
            match fs::remove_file(&draft) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            let mut file = options.open(&draft)?;
            writeln!(file, "{text}")?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        write().map_err(|error| failed("write", &path, &error))
    }

    /// Forgets it.
    pub(crate) fn forget() -> Result<(), Failure> {
        let Some(path) = path() else { return Ok(()) };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("delete", &path, &error))
            }
            _ => Ok(()),
        }
    }
}

fn failed(doing: &str, path: &std::path::Path, error: &dyn std::fmt::Display) -> Failure {
    let message = format!("{doing} {}: {error}", path.display());
    Failure::new(Exit::Failed, "failed", message)
}

/// `$XDG_CONFIG_HOME/danube/login.json`, or below `~/.config`.
fn path() -> Option<PathBuf> {
    // The XDG specification: a relative path is to be ignored.
    let absolute = |name: &str| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|it| it.is_absolute())
    };
    let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(config.join("danube/login.json"))
}
