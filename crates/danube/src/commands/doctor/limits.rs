//! What the system gives this process.

use rustix::process::{Resource, getrlimit};

use super::found::Found;

/// Open files under which a server can't do with its own: database, logs, jobs.
const FILES_MIN: u64 = 1_024;

/// Open files with which all followers that there may be have room.
const FILES_PLENTY: u64 = 16_384;

/// A server takes as many as it may, so only the hard limit counts.
pub(super) fn open_files() -> Found {
    let Some(most) = getrlimit(Resource::Nofile).maximum else {
        return Found::fine("as many as there are");
    };
    let fix = "raise it: LimitNOFILE=65536 in the service, or ulimit -Hn";
    match most {
        ..FILES_MIN => Found::wrong(format!("{most} at most; a server needs {FILES_MIN}"), fix),
        FILES_MIN..FILES_PLENTY => {
            Found::weak(format!("{most} at most: few can follow logs at once"), fix)
        }
        _ => Found::fine(format!("{most} at most")),
    }
}
