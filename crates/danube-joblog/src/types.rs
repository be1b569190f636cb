//! The words that writer and reader share.

use std::io;

use danube_redact::Counts;

/// One of the two outputs of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Where a stretch of a log came from, as far as the index tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Both, or not known (a log whose index was lost).
    Mixed,
}

impl From<Stream> for StreamKind {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout,
            Stream::Stderr => Self::Stderr,
        }
    }
}

/// How much of one job's log is kept: its head, and its newest tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes kept from the start of the log.
    pub head_bytes: u64,
    /// Bytes kept in all. What lies past the head is the newest tail: at least
    /// half of `total_bytes - head_bytes` and never more than all of it.
    pub total_bytes: u64,
}

impl Limits {
    /// Limits that can work.
    ///
    /// # Errors
    /// `InvalidInput` when the head is empty or there is no room for a tail.
    pub fn new(head_bytes: u64, total_bytes: u64) -> io::Result<Self> {
        let limits = Self {
            head_bytes,
            total_bytes,
        };
        limits.check()?;
        Ok(limits)
    }

    pub(crate) fn check(self) -> io::Result<()> {
        let room = self.total_bytes.saturating_sub(self.head_bytes);
        if self.head_bytes == 0 || room < 2 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the log's head must hold a byte, and its total two bytes more than its head",
            ));
        }
        Ok(())
    }

    /// Two segments share the room past the head, so that one can go while the
    /// other still holds the newest output.
    pub(crate) fn segment_bytes(self) -> u64 {
        (self.total_bytes - self.head_bytes) / 2
    }
}

impl Default for Limits {
    /// 512 MiB of head, 1 GiB in all.
    fn default() -> Self {
        Self {
            head_bytes: 512 * 1024 * 1024,
            total_bytes: 1024 * 1024 * 1024,
        }
    }
}

/// A point in a log that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The attempt with this number begins.
    Attempt(u32),
    /// The step with this number begins.
    StepStart(u32),
    /// The step with this number has ended.
    StepEnd(u32),
    /// The step that began last is this span of the job's trace (W3C span id, never all
    /// zero).
    StepSpan([u8; 8]),
    /// Of the plays of the attempt's playbook, counted from 0, this one begins. Numbers
    /// only rise.
    Play(u32),
    /// Of the tasks of the attempt's playbook, counted from 0 through all its plays, this
    /// one begins. Numbers only rise.
    Task(u32),
    /// What follows belongs to no play.
    PlaysEnd,
}

/// What a [`Fold`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldKind {
    /// A play.
    Play,
    /// A task of the play before it.
    Task,
}

/// What one play or task of a playbook wrote, which a viewer may fold away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Which of the two.
    pub kind: FoldKind,
    /// Its number, as given to [`Mark::Play`] or [`Mark::Task`].
    pub number: u32,
    /// The attempt it belongs to; 0 when none was marked.
    pub attempt: u32,
    /// Logical offset of its first byte.
    pub start: u64,
    /// Logical offset after its last byte; `None` while it goes on.
    pub end: Option<u64>,
}

/// How far a log has come that is being written in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Logical end offset that readers can see.
    pub end: u64,
    /// Nothing more will come from this writer.
    pub closed: bool,
}

/// How a log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Logical end offset.
    pub bytes: u64,
    /// Every byte that was written can be read.
    pub complete: bool,
    /// Bytes known to be missing: past the size limit, or lost to an error.
    pub missing_bytes: u64,
}

/// What was blanked in the files of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// Lines that held a value.
    pub lines: u64,
    /// Bytes in them, without their ends of line.
    pub bytes: u64,
}

/// What a writer has done so far. Totals that only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Bytes taken from the job, before redaction.
    pub ingested_bytes: u64,
    /// Bytes appended to the log's files.
    pub written_bytes: u64,
    /// Bytes given up after an error or dropped for the size limit.
    pub missing_bytes: u64,
    /// Nanoseconds spent waiting for the disk inside `write(2)`.
    pub blocked_nanos: u64,
    /// Batches appended.
    pub flushes: u64,
    /// Background syncs of this log that went wrong.
    pub sync_errors: u64,
    /// How often each redaction rule struck, by rule id.
    pub redactions: Counts,
}

/// A piece of a log, as a reader gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Bytes of the log.
    Data {
        /// Logical offset of the first byte.
        offset: u64,
        /// The bytes, never empty.
        bytes: Vec<u8>,
        /// Where they came from.
        stream: StreamKind,
        /// When they were written (Unix time in microseconds), if known.
        time_us: Option<u64>,
    },
    /// Bytes that once were, and are gone.
    Gap {
        /// First missing offset.
        from: u64,
        /// First offset after the gap.
        to: u64,
        /// Why they are gone.
        reason: GapReason,
    },
    /// Nothing more for now.
    End {
        /// The log's logical end.
        at: u64,
    },
}

/// Why bytes are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The log grew past its size limit.
    Truncated,
    /// A write error or a crash.
    Lost,
}

/// Where a step's output lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRange {
    /// The step's number, as given to [`Mark::StepStart`].
    pub step: u32,
    /// The attempt it belongs to; 0 when none was marked.
    pub attempt: u32,
    /// Logical offset of its first byte.
    pub start: u64,
    /// Logical offset after its last byte; `None` while it runs.
    pub end: Option<u64>,
    /// Its span in the job's trace, if that was told.
    pub span_id: Option<[u8; 8]>,
}

/// Where an attempt's output begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptStart {
    /// The attempt's number, as given to [`Mark::Attempt`].
    pub attempt: u32,
    /// Logical offset of its first byte.
    pub start: u64,
    /// When it began (Unix time in microseconds), if known.
    pub time_us: Option<u64>,
}

/// What can go wrong with a job log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A job id that could not be a file name.
    #[error("a job id has 1 to 64 of the characters 0-9, a-z and -")]
    BadName,
    /// There is no log of this job.
    #[error("no log of this job")]
    NotFound,
    /// The job's log is being written already.
    #[error("the log of this job is being written already")]
    InUse,
    /// An earlier write went wrong and its bytes wait in memory; call `tick`
    /// to try again or `skip_pending` to give them up.
    #[error("write job log: bytes of an earlier write still wait ({kind})")]
    RetryFirst {
        /// What went wrong then.
        kind: io::ErrorKind,
    },
    /// The disk said no.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, as a verb phrase.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl LogError {
    /// The system's reason, where there is one: `StorageFull` for a full disk.
    #[must_use]
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::RetryFirst { kind } => Some(*kind),
            Self::Io { source, .. } => Some(source.kind()),
            Self::BadName | Self::NotFound | Self::InUse => None,
        }
    }

    pub(crate) fn io(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}
