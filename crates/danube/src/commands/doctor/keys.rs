//! What must stay secret: the keys, the database, settings that hold secrets.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::found::Found;
use crate::config::Config;

/// Bits of a mode with which others read or change a file.
const OTHERS: u32 = 0o077;

pub(super) fn keys(config: &Config) -> Found {
    let dir = &config.settings.data_dir;
    let Ok(owner) = fs::metadata(dir).map(|it| it.uid()) else {
        return Found::unused("there is no data directory yet");
    };
    let mut there = Vec::new();
    for name in [
        "admin.key",
        "seal.key",
        "registry.token",
        "provenance.key",
        "danube.db",
        "danube.toml",
    ] {
        let path = dir.join(name);
        let Ok(about) = fs::metadata(&path) else {
            continue;
        };
        // A settings file without secrets may be read by whoever likes to.
        let is_secret = name != "danube.toml" || !config.secrets.is_empty();
        let mode = about.mode() & 0o777;
        let shown = path.display();
        if is_secret && mode & OTHERS != 0 {
            let then = match name {
                "admin.key" => "; then make another admin key, and revoke this one",
                "seal.key" => {
                    "; then `danube credential rotate-key`, and think of what it sealed as known"
                }
                "registry.token" => {
                    "; then delete it, start again, and tell the registry the new one"
                }
                "provenance.key" => "; then delete it, and think of what it signed as anybody's",
                _ => "",
            };
            return Found::wrong(
                format!("{shown} can be read or changed by others (mode {mode:03o})"),
                format!("chmod 600 {shown}{then}"),
            );
        }
        if about.uid() != owner {
            return Found::wrong(
                format!(
                    "{shown} belongs to user {}, and the directory to user {owner}",
                    about.uid()
                ),
                format!("chown {owner} {shown}, or the server can't read it"),
            );
        }
        there.push(name);
    }
    if there.is_empty() {
        return Found::unused("there are none yet; the first start makes them");
    }
    Found::fine(format!("{}: for their owner only", there.join(", ")))
}
