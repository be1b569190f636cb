//! Appends, indexes, follows and retains a job log.
//!
//! A job's output goes through a redactor into a plain text file; a small index
//! beside it (`docs/joblog-index.md`) knows the time and stream of each batch,
//! attempts, steps and gaps. Raw bytes come in through [`LogWriter`] alone, which
//! owns the redactors, so nothing unredacted can reach the disk. What another
//! process wrote so comes in through [`LogCopy`], byte for byte.
//!
//! Offsets are logical: they count every byte the log ever had and are never used
//! again. Past the size limit the head stays, the newest tail stays, and what lay
//! between is an explicit [`Chunk::Gap`].
//!
//! [`LogReader`] also finds lines by number and places by time without reading
//! what lies between, and searches a whole log. A value that turns out to be secret
//! when some of it is stored already is blanked where it stands
//! ([`JobLogs::mask`]); nothing moves by that.
//!
//! All calls block for the disk only. Whoever follows a log reads the file at an
//! offset of his own and waits on [`JobLogs::progress`]; a slow one costs nothing.

mod ansi;
mod append;
mod blank;
mod copy;
mod files;
mod folds;
mod format;
mod frozen;
mod index;
mod journal;
mod late;
mod layout;
mod lines;
mod logs;
mod numbers;
mod query;
mod reader;
mod retain;
mod search;
mod state;
mod sync;
mod text;
mod types;
mod unwritten;
mod writer;

pub use ansi::AnsiStripper;
pub use copy::{CopiedRun, LogCopy, Piece};
pub use danube_redact::{Counts, MASK, Refused, Rules, Secrets};
pub use folds::{MarkAt, Marks};
pub use frozen::{FrozenFile, FrozenLog, LogCut, freeze_stopped};
pub use late::MaskError;
pub use lines::{LineItem, Lines, TimedLine};
pub use logs::JobLogs;
pub use numbers::LineStart;
pub use query::{QueryError, SearchOptions, SearchQuery};
pub use reader::LogReader;
pub use retain::{Expired, ExpiredReason, Retention, StoredLog, expired};
pub use search::{SearchBudget, SearchEnd, SearchHit, SearchOutcome};
pub use types::{
    AttemptStart, Chunk, Fold, FoldKind, GapReason, Limits, LogCounts, LogError, Mark, Masked,
    Progress, StepRange, Stream, StreamKind, Summary,
};
pub use writer::LogWriter;
