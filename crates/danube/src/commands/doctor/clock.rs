//! The clock: not behind what was written, and kept right by something.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use danube_executor::clock_is_synchronised;

use super::found::Found;
use crate::config::Config;

/// How far a file may be in the future: file servers and clocks round.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// When this was written: a machine that has an earlier time has lost it.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);

pub(super) fn clock(config: &Config) -> Found {
    let now = SystemTime::now();
    let fix = "set it, and let NTP keep it right (systemd-timesyncd, chrony)";
    if now < SystemTime::UNIX_EPOCH + EARLIEST {
        return Found::wrong("it shows a time before this program was written", fix);
    }
    if let Some((name, ahead)) = newest(&config.settings.data_dir, now) {
        let seconds = ahead.as_secs();
        return Found::wrong(
            format!("it is behind: {name} was changed {seconds} s in the future"),
            format!("{fix}; schedules, retention and sessions go by it"),
        );
    }
    match clock_is_synchronised() {
        Some(true) => Found::fine("kept right, says the kernel"),
        Some(false) => Found::weak("nothing keeps it right, says the kernel", fix),
        None => Found::fine("plausible; the kernel doesn't say who keeps it right"),
    }
}

/// The file of the data directory that is furthest in the future, if any is.
fn newest(dir: &Path, now: SystemTime) -> Option<(String, Duration)> {
    let ahead = |name: &str| {
        let changed = fs::metadata(dir.join(name)).and_then(|it| it.modified());
        let ahead = changed.ok()?.duration_since(now).ok()?;
        (ahead > AHEAD_MAX).then(|| (name.to_owned(), ahead))
    };
    let names = [
        "danube.db",
        "danube.db-wal",
        "logs",
        "traces",
        "master.lock",
    ];
    let all = names.iter().filter_map(|it| ahead(it));
    all.max_by_key(|(_, ahead)| *ahead)
}
