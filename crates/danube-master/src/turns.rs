//! Turns at what takes much: a request waits for one, or is sent away.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Submits that are checked at once.
const CHECKS_MAX: usize = 4;

/// Logs that are blanked at once.
const BLANKINGS_MAX: usize = 2;

/// Reads for followers at once: enough to keep a disk busy that has to be read,
/// where most reads find their bytes in memory.
pub(crate) const LOG_READS_MAX: usize = 32;

/// Logs that are searched at once: each takes a processor.
const SEARCHES_MAX: usize = 4;

/// Panels that are drawn at once: each takes a processor for some milliseconds.
const PANELS_MAX: usize = 4;

/// Histories of pipelines that are read at once: each has one of the store's few
/// connections for up to two seconds.
const TIMINGS_MAX: usize = 2;

/// Messages of jobs' tools that are read at once: with what they are made of, some 100 MiB.
const RECEIPTS_MAX: usize = 2;

/// Messages of jobs' tools that are taken in at once: 64 MiB at most. Others wait without
/// having sent anything.
const BODIES_MAX: usize = 16;

/// Backups that are taken at once: each copies the database on the disk that all need.
const BACKUPS_MAX: usize = 1;

/// Artifacts that are sent at once: each has a thread, and a file that grows.
const UPLOADS_MAX: usize = 16;

/// How many may do at once what takes a processor, memory or a disk.
pub(crate) struct Turns {
    /// Turns at checking a submit: it takes processor and memory, and a caller
    /// with many large ones must not take all of both.
    pub(crate) checks: Semaphore,
    /// Turns at blanking stored lines: each reads a whole log.
    pub(crate) blankings: Semaphore,
    /// Turns at searching a log. Shared with the threads that search.
    pub(crate) searches: Arc<Semaphore>,
    /// Turns at reading a log for a follower: a flush wakes all of them at once,
    /// and each on a thread of its own would be more threads than processors help.
    pub(crate) log_reads: Semaphore,
    /// Turns at drawing a panel: it takes a processor. Shared with the threads that draw.
    pub(crate) panels: Arc<Semaphore>,
    /// Turns at reading the history of a pipeline. Shared with the threads that read.
    pub(crate) timings: Arc<Semaphore>,
    /// Turns at reading what the tools of jobs send: each takes some times its size.
    pub(crate) receipts: Semaphore,
    /// Turns at sending one: until it is read it lies in memory.
    pub(crate) bodies: Semaphore,
    /// Turns at sending an artifact.
    pub(crate) uploads: Semaphore,
    /// The turn at taking a backup. Shared with the thread that takes it.
    pub(crate) backups: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            checks: Semaphore::new(CHECKS_MAX),
            blankings: Semaphore::new(BLANKINGS_MAX),
            searches: Arc::new(Semaphore::new(SEARCHES_MAX)),
            log_reads: Semaphore::new(LOG_READS_MAX),
            panels: Arc::new(Semaphore::new(PANELS_MAX)),
            timings: Arc::new(Semaphore::new(TIMINGS_MAX)),
            receipts: Semaphore::new(RECEIPTS_MAX),
            bodies: Semaphore::new(BODIES_MAX),
            uploads: Semaphore::new(UPLOADS_MAX),
            backups: Arc::new(Semaphore::new(BACKUPS_MAX)),
        }
    }
}
