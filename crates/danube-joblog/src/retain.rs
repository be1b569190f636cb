//! Which logs have had their time: decided from a list and a clock alone.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, SystemTime};

use crate::files::job_of;
use crate::logs::JobLogs;

/// A day as retention counts it.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A log in the folder, as its files look from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLog {
    /// Whose it is.
    pub job: String,
    /// Bytes of all its files.
    pub bytes: u64,
    /// When one of them last changed.
    pub changed: SystemTime,
    /// It is being written in this process.
    pub live: bool,
}

/// How long logs are kept. What isn't given doesn't limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Days after their last change.
    pub days: Option<u32>,
    /// Bytes of all together.
    pub total_bytes: Option<u64>,
    /// Bytes that are to be freed, whatever the others allow: the disk is too full.
    pub free_bytes: Option<u64>,
}

/// A log that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Whose it is.
    pub job: String,
    /// Bytes that this frees.
    pub bytes: u64,
    /// Why.
    pub reason: ExpiredReason,
}

/// Why a log may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiredReason {
    /// It is older than logs are kept.
    Age,
    /// Together the logs take too much room, and it is among the oldest.
    Size,
    /// The disk is too full, and it is among the oldest.
    Disk,
}

impl ExpiredReason {
    /// As a label says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Size => "size",
            Self::Disk => "disk",
        }
    }
}

/// The logs that `keep` doesn't keep at `now`, oldest first. Those that are being
/// written never go, nor those that are `kept` for another reason, though their bytes
/// count. That is asked with the log's age, and only of those that would go. A log that
/// seems to be from the future (the clock was set back) has no age yet.
#[must_use]
pub fn expired(
    logs: &[StoredLog],
    now: SystemTime,
    keep: Retention,
    kept: impl Fn(&str, Duration) -> bool,
) -> Vec<Expired> {
    let mut left: u64 = logs.iter().map(|it| it.bytes).sum();
    let mut oldest: Vec<&StoredLog> = logs.iter().filter(|it| !it.live).collect();
    oldest.sort_by(|a, b| (a.changed, &a.job).cmp(&(b.changed, &b.job)));
    let mut expired = Vec::new();
    let mut freed = 0;
    for log in oldest {
        let age = now.duration_since(log.changed).unwrap_or_default();
        let reason = if keep.days.is_some_and(|days| age > DAY * days) {
            ExpiredReason::Age
        } else if keep.total_bytes.is_some_and(|most| left > most) {
            ExpiredReason::Size
        } else if keep.free_bytes.is_some_and(|least| freed < least) {
            ExpiredReason::Disk
        } else {
            // All behind are younger, and there is room for them.
            break;
        };
        if kept(&log.job, age) {
            continue;
        }
        left -= log.bytes;
        freed += log.bytes;
        expired.push(Expired {
            job: log.job.clone(),
            bytes: log.bytes,
            reason,
        });
    }
    expired
}

impl JobLogs {
    /// All logs in the folder, in no order, from the names, sizes and times of
    /// their files alone. Files that are no log's are left out.
    ///
    /// # Errors
    /// What the system says.
    pub fn stored(&self) -> io::Result<Vec<StoredLog>> {
        let mut logs: HashMap<String, StoredLog> = HashMap::new();
        for entry in std::fs::read_dir(&self.folder.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(job) = name.to_str().and_then(job_of) else {
                continue;
            };
            let meta = match entry.metadata() {
                Ok(it) => it,
                // Deleted meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let changed = meta.modified()?;
            let known = logs.get_mut(job);
            if let Some(log) = known {
                log.bytes += meta.len();
                log.changed = log.changed.max(changed);
                continue;
            }
            let log = StoredLog {
                job: job.to_owned(),
                bytes: meta.len(),
                changed,
                live: self.folder.is_live(job),
            };
            logs.insert(job.to_owned(), log);
        }
        Ok(logs.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn log(job: &str, bytes: u64, hours_ago: u32, live: bool) -> StoredLog {
        StoredLog {
            job: job.to_owned(),
            bytes,
            changed: now() - HOUR * hours_ago,
            live,
        }
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * 20_000
    }

    fn check(logs: &[StoredLog], days: Option<u32>, bytes: Option<u64>, expected: &[(&str, &str)]) {
        let keep = Retention {
            days,
            total_bytes: bytes,
            free_bytes: None,
        };
        let found = expired(logs, now(), keep, |_, _| false);
        let found: Vec<_> = found
            .iter()
            .map(|it| (&it.job[..], it.reason.as_str()))
            .collect();
        assert_eq!(found, expected, "{days:?} {bytes:?}");
    }

    #[test]
    fn old_logs_go_first_by_age_and_then_for_room_and_live_ones_never() {
        let logs = [
            log("new", 10, 1, false),
            log("old", 20, 73, false),
            log("live", 40, 100, true),
            log("middle", 30, 30, false),
        ];
        check(&logs, None, None, &[]);
        check(&logs, Some(3), None, &[("old", "age")]);
        check(&logs, Some(4), None, &[]);
        check(
            &logs,
            Some(0),
            None,
            &[("old", "age"), ("middle", "age"), ("new", "age")],
        );
        check(&logs, None, Some(100), &[]);
        check(&logs, None, Some(99), &[("old", "size")]);
        check(
            &logs,
            None,
            Some(79),
            &[("old", "size"), ("middle", "size")],
        );
        check(
            &logs,
            Some(3),
            Some(79),
            &[("old", "age"), ("middle", "size")],
        );
        check(
            &logs,
            None,
            Some(0),
            &[("old", "size"), ("middle", "size"), ("new", "size")],
        );
        check(&[log("x", 9, 5, true)], Some(0), Some(0), &[]);
    }

    #[test]
    fn a_full_disk_takes_the_oldest_until_enough_is_free() {
        let logs = [
            log("new", 10, 1, false),
            log("old", 20, 73, false),
            log("live", 40, 100, true),
            log("middle", 30, 30, false),
        ];
        let gone = |days, free_bytes| -> Vec<(String, &str)> {
            let keep = Retention {
                days,
                total_bytes: None,
                free_bytes,
            };
            let found = expired(&logs, now(), keep, |_, _| false).into_iter();
            found.map(|it| (it.job, it.reason.as_str())).collect()
        };
        let (old, middle) = (|why| ("old".to_owned(), why), ("middle".to_owned(), "disk"));
        assert_eq!(gone(None, Some(20)), [old("disk")]);
        assert_eq!(gone(None, Some(21)), [old("disk"), middle.clone()]);
        // What goes for its age counts.
        assert_eq!(gone(Some(3), Some(21)), [old("age"), middle]);
        assert_eq!(gone(Some(3), Some(20)), [old("age")]);
        assert_eq!(gone(None, None), []);
    }

    #[test]
    fn what_is_kept_stays_its_bytes_count_and_others_go_in_its_place() {
        let logs = [
            log("new", 10, 1, false),
            log("old", 20, 73, false),
            log("middle", 30, 30, false),
        ];
        let gone = |days, total_bytes, free_bytes, kept_hours: u32| -> Vec<String> {
            let keep = Retention {
                days,
                total_bytes,
                free_bytes,
            };
            let kept = |job: &str, age| job == "old" && age <= HOUR * kept_hours;
            let found = expired(&logs, now(), keep, kept).into_iter();
            found.map(|it| it.job).collect()
        };
        assert_eq!(gone(Some(1), None, None, 73), ["middle"]);
        assert_eq!(gone(Some(1), None, None, 72), ["old", "middle"]);
        assert_eq!(gone(None, Some(59), None, 73), ["middle"]);
        assert_eq!(gone(None, Some(19), None, 73), ["middle", "new"]);
        assert_eq!(gone(None, None, Some(31), 73), ["middle", "new"]);
    }

    #[test]
    fn a_log_from_the_future_has_no_age_but_takes_room() {
        let mut future = log("future", 10, 0, false);
        future.changed = now() + DAY;
        let logs = [future];
        check(&logs, Some(0), None, &[]);
        check(&logs, None, Some(5), &[("future", "size")]);
    }
}
