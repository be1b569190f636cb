//! The data directory: there or to be made, ours, and nobody else's to change.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access};

use super::found::Found;
use crate::config::Config;

/// Bits of a mode with which others may change what is in a directory.
const OTHERS_WRITE: u32 = 0o022;

pub(super) fn directory(config: &Config) -> Found {
    let dir = &config.settings.data_dir;
    let shown = dir.display();
    let about = match fs::metadata(dir) {
        Ok(about) => about,
        Err(error) if error.kind() == ErrorKind::NotFound => return to_be_made(dir),
        Err(error) => {
            return Found::wrong(
                format!("{shown}: {error}"),
                "let the user that runs the master read what leads there",
            );
        }
    };
    if !about.is_dir() {
        return Found::wrong(
            format!("{shown} is no directory"),
            "name another one with server.data_dir, or move that away",
        );
    }
    let (me, owner) = (rustix::process::geteuid(), about.uid());
    if let Err(error) = access(dir, Access::WRITE_OK | Access::EXEC_OK | Access::READ_OK) {
        let why = format!(
            "{shown} belongs to user {owner} and can't be written by user {}: {error}",
            me.as_raw()
        );
        let fix = match error {
            rustix::io::Errno::ROFS => "mount its file system for writing",
            _ => "run this as the user that runs the master, or give the directory to that user",
        };
        return Found::wrong(why, fix);
    }
    let mode = about.mode() & 0o777;
    if mode & OTHERS_WRITE != 0 {
        return Found::wrong(
            format!("{shown} can be changed by others (mode {mode:03o})"),
            format!("chmod go-w {shown}"),
        );
    }
    Found::fine(format!("{shown}, mode {mode:03o}, of user {owner}"))
}

/// There is none yet: the first start makes it, if it may.
fn to_be_made(dir: &Path) -> Found {
    let shown = dir.display();
    let above = dir.ancestors().skip(1).find(|it| it.exists());
    let above = above.unwrap_or(Path::new("/"));
    match access(above, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Found::fine(format!("{shown} will be made at the first start")),
        Err(error) => Found::wrong(
            format!(
                "{shown} isn't there and can't be made in {}: {error}",
                above.display()
            ),
            "make it and give it to the user that runs the master",
        ),
    }
}
