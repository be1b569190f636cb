//! The database: ours, whole as far as a quick look tells, opened by its key.

use danube_store::{OpenError, look, sqlite_version};

use super::found::Found;
use crate::config::Config;

/// For people.
const MIB: u64 = 1024 * 1024;

pub(super) fn database(config: &Config) -> Found {
    let sqlite = sqlite_version();
    let found = match look(&config.settings.data_dir) {
        Ok(Some(found)) => found,
        Ok(None) => return Found::unused(format!("there is none yet; SQLite {sqlite}")),
        Err(error) => {
            let fix = match &error {
                OpenError::NewerSchema { .. } => "start the version of danube that wrote it",
                OpenError::Corrupt { .. } => {
                    "keep a copy of the directory, then `danube restore` a backup into a new one"
                }
                OpenError::SealKeyMissing { .. } | OpenError::SealKeyWrong { .. } => {
                    "put the right seal.key there, from a backup"
                }
                OpenError::SealKeyExposed { .. } => "chmod 600 it",
                OpenError::Foreign { .. } => "name another directory with server.data_dir",
                OpenError::Locked { .. } => "end the process that holds it",
                OpenError::Io { .. } => "run this as the user that runs the master",
            };
            return Found::wrong(error.to_string(), fix);
        }
    };
    let looked = match found.is_checked {
        true => "every page is well",
        false => "too large for a look at every page",
    };
    let schema = match found.schema < found.known {
        true => format!(
            "schema {} (the next start makes it {})",
            found.schema, found.known
        ),
        false => format!("schema {}", found.schema),
    };
    Found::fine(format!(
        "{} MiB, {schema}, {looked}; SQLite {sqlite}",
        found.bytes.div_ceil(MIB)
    ))
}
