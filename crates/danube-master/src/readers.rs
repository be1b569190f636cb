//! Open readers of logs, shared by everybody who follows the same log.
//!
//! A follower needs a reader only while it reads. So a log with ten thousand
//! followers has as many readers as read at once, an idle follower holds no file
//! and no index, and what one read has learned of the index serves the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use danube_joblog::LogReader;
use danube_model::JobId;

/// Files of a reader: index, head and a tail.
pub(crate) const READER_FILES: u64 = 3;

/// The readers that nobody uses right now.
pub(crate) struct Readers {
    /// As many as are kept open.
    kept_max: usize,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// One entry a log that somebody follows.
    logs: HashMap<JobId, Log>,
    /// Readers in all entries.
    kept: usize,
}

#[derive(Default)]
struct Log {
    followers: usize,
    readers: Vec<LogReader>,
}

impl Readers {
    pub(crate) fn new(kept_max: usize) -> Self {
        Self {
            kept_max,
            idle: Mutex::default(),
        }
    }

    /// Somebody follows the log, for as long as the answer lives.
    pub(crate) fn follow(self: &Arc<Self>, job: JobId) -> Followed {
        self.idle().logs.entry(job).or_default().followers += 1;
        Followed {
            readers: Arc::clone(self),
            job,
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // Counts and readers are right after every line that changes them.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A follower's share in the readers of its log.
pub(crate) struct Followed {
    readers: Arc<Readers>,
    job: JobId,
}

impl Followed {
    /// A reader that stands open, if there is one. Give it back after the read,
    /// unless that failed.
    pub(crate) fn take(&self) -> Option<LogReader> {
        let mut idle = self.readers.idle();
        let reader = idle.logs.get_mut(&self.job)?.readers.pop()?;
        idle.kept -= 1;
        Some(reader)
    }

    /// Keeps a reader for the next read of this log; closes it when there are
    /// enough.
    pub(crate) fn give(&self, reader: LogReader) {
        let mut idle = self.readers.idle();
        if idle.kept >= self.readers.kept_max {
            return;
        }
        let Some(log) = idle.logs.get_mut(&self.job) else {
            return;
        };
        log.readers.push(reader);
        idle.kept += 1;
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let mut idle = self.readers.idle();
        let Some(log) = idle.logs.get_mut(&self.job) else {
            return;
        };
        log.followers -= 1;
        if log.followers == 0 {
            let last = idle.logs.remove(&self.job);
            let closed = last.map_or_else(Vec::new, |it| it.readers);
            idle.kept -= closed.len();
            drop(idle);
            // Closed outside of the lock.
            drop(closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use danube_joblog::{JobLogs, Limits, Rules, Secrets};

    use super::*;

    #[test]
    fn readers_are_shared_by_the_followers_of_a_log_and_closed_after_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let logs = JobLogs::open(dir.path(), Limits::default()).unwrap();
        let (one, two) = (JobId::new(), JobId::new());
        for job in [one, two] {
            let secrets = Secrets::new(Rules::none());
            logs.writer(&job.to_string(), &secrets)
                .unwrap()
                .close()
                .unwrap();
        }
        let open = |job: JobId| logs.reader(&job.to_string()).unwrap();
        let readers = Arc::new(Readers::new(2));
        let (first, second) = (readers.follow(one), readers.follow(one));
        let other = readers.follow(two);
        assert!(first.take().is_none(), "nobody has opened one");
        first.give(open(one));
        assert!(other.take().is_none(), "it is of another log");
        second.give(second.take().unwrap());
        other.give(open(two));
        other.give(open(two));
        assert_eq!(readers.idle().kept, 2, "enough are kept");
        drop(first);
        assert!(second.take().is_some());
        drop(second);
        assert_eq!(readers.idle().kept, 1);
        drop(other);
        let idle = readers.idle();
        assert_eq!((idle.kept, idle.logs.len()), (0, 0));
    }
}
