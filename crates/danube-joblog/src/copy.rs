//! Keeps a copy of a log that another process writes and sends in pieces.
//!
//! The writer redacts, and numbers its bytes; the copy has them at the same offsets,
//! behind what earlier attempts left. A piece may come twice, or in part again after
//! a restart of either side: what is there already is skipped, and what would leave a
//! hole isn't taken. So the copy is always a prefix of what was written.

use crate::logs::JobLogs;
use crate::state::LogState;
use crate::types::{LogError, Mark, StreamKind, Summary};
use crate::writer::LogWriter;

/// A stretch of a piece with one origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopiedRun {
    /// Where it came from.
    pub stream: StreamKind,
    /// How many bytes it has.
    pub bytes: u64,
    /// When they were written (Unix time in microseconds).
    pub time_us: u64,
}

/// What the writer sends at once. Offsets are those of the copy.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Where it begins.
    pub offset: u64,
    /// The bytes; already redacted.
    pub bytes: &'a [u8],
    /// Where they came from, in order. What they leave over is of both streams, and
    /// came now.
    pub runs: &'a [CopiedRun],
    /// Points in it that mean something, in order, each with its offset.
    pub marks: &'a [(u64, Mark)],
    /// Behind the bytes the writer has nothing itself, up to here.
    pub gap_to: Option<u64>,
}

/// A copy of one log, which nobody else writes meanwhile.
pub struct LogCopy {
    writer: LogWriter,
    attempt: u32,
    base: u64,
}

impl JobLogs {
    /// Opens a copy of what an attempt at a job writes elsewhere, and marks the
    /// attempt. One that was opened before goes on where it ended.
    ///
    /// # Errors
    /// `BadName`, `InUse`, or what the system says.
    pub fn copy(&self, job: &str, attempt: u32) -> Result<LogCopy, LogError> {
        let folder = &self.folder;
        let mut writer = LogWriter::open_with(folder, job, |paths, progress| {
            LogState::open_copy(folder, paths, progress, attempt)
        })?;
        let known = writer.state().layout().attempts.last().copied();
        let base = match known.filter(|it| it.attempt == attempt) {
            Some(it) => it.start,
            None => writer.mark(Mark::Attempt(attempt))?,
        };
        Ok(LogCopy {
            writer,
            attempt,
            base,
        })
    }
}

impl LogCopy {
    /// Where the attempt's first byte stands.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Where the next byte goes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.writer.end()
    }

    /// Appends what of the piece isn't there yet, and says where the copy ends then.
    /// A piece that begins behind that end changes nothing.
    ///
    /// # Errors
    /// When the disk says no. What was appended stays; send the rest again.
    pub fn append(&mut self, piece: &Piece<'_>) -> Result<u64, LogError> {
        let state = &mut *self.writer.state();
        if piece.offset > state.end() {
            return Ok(state.end());
        }
        let mut marks = piece.marks.iter().peekable();
        let mut at = piece.offset;
        for (run, mut rest) in runs(piece) {
            while !rest.is_empty() {
                while let Some((_, mark)) = marks.next_if(|it| it.0 <= at) {
                    note(state, self.attempt, at, *mark)?;
                }
                let next = marks.peek().map_or(u64::MAX, |it| it.0);
                let len = usize::try_from(next - at).unwrap_or(usize::MAX);
                let (now, behind) = rest.split_at(len.min(rest.len()));
                let known = usize::try_from(state.end().saturating_sub(at)).unwrap_or(usize::MAX);
                let new = now.get(known..).unwrap_or(&[]);
                state.append_copied(new, (run.stream, run.time_us))?;
                at += now.len() as u64;
                rest = behind;
            }
        }
        while let Some((_, mark)) = marks.next_if(|it| it.0 <= at) {
            note(state, self.attempt, at, *mark)?;
        }
        if let Some(to) = piece.gap_to {
            state.append_gap(to)?;
        }
        Ok(state.end())
    }

    /// Makes all durable and closes the log.
    ///
    /// # Errors
    /// When the disk says no; open the copy again then.
    pub fn close(self) -> Result<Summary, LogError> {
        self.writer.close()
    }
}

/// The piece's bytes by where they came from.
fn runs<'a>(piece: &Piece<'a>) -> Vec<(CopiedRun, &'a [u8])> {
    let mut rest = piece.bytes;
    let mut all = Vec::with_capacity(piece.runs.len() + 1);
    for run in piece.runs {
        let len = usize::try_from(run.bytes).unwrap_or(usize::MAX);
        let (bytes, behind) = rest.split_at(len.min(rest.len()));
        all.push((*run, bytes));
        rest = behind;
    }
    let left = CopiedRun {
        stream: StreamKind::Mixed,
        bytes: rest.len() as u64,
        time_us: crate::append::now_us(),
    };
    all.push((left, rest));
    all
}

/// Marks the end of the copy, if the mark belongs there and isn't there already.
fn note(state: &mut LogState, attempt: u32, at: u64, mark: Mark) -> Result<(), LogError> {
    let mut steps = state.layout().steps.iter().rev();
    let is_known = match mark {
        // The copy itself marks it.
        Mark::Attempt(_) => true,
        Mark::StepStart(step) => steps.any(|it| it.step == step && it.attempt == attempt),
        Mark::StepEnd(step) => {
            steps.any(|it| it.step == step && it.attempt == attempt && it.end.is_some())
        }
        Mark::Play(_) | Mark::Task(_) | Mark::PlaysEnd => state.layout().plays.knows(mark),
        Mark::StepSpan(span) => steps.any(|it| it.attempt == attempt && it.span_id == Some(span)),
    };
    if is_known || at != state.end() {
        return Ok(());
    }
    state.mark(mark).map(drop)
}
