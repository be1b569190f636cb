//! A log line by line, each with the time it was written.

use std::collections::VecDeque;

use crate::reader::LogReader;
use crate::types::{Chunk, GapReason, LogError, StreamKind};

/// A longer line comes in pieces of at least this size. It bounds the memory.
const PIECE_BYTES: usize = 64 * 1024;

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// A line, or bytes that are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineItem {
    /// A line.
    Line(TimedLine),
    /// Bytes that once were, and are gone.
    Gap {
        /// First missing offset.
        from: u64,
        /// First offset after the gap.
        to: u64,
        /// Why they are gone.
        reason: GapReason,
    },
}

/// A line with its end (`\n`, if it has one), or a piece of a very long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedLine {
    /// Logical offset of its first byte.
    pub offset: u64,
    /// When its first byte was written (Unix time in microseconds), if known.
    pub time_us: Option<u64>,
    /// Where its first byte came from.
    pub stream: StreamKind,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// This is not the beginning of the line but goes on with the item before.
    pub continues: bool,
}

/// The lines of a log. Ends at the first error.
pub struct Lines<'a> {
    reader: &'a mut LogReader,
    at: u64,
    to: u64,
    line: Option<TimedLine>,
    /// The next line goes on with one that came in pieces.
    continues: bool,
    ready: VecDeque<LineItem>,
    ended: bool,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(reader: &'a mut LogReader, from: u64, to: u64) -> Self {
        Self {
            reader,
            at: from,
            to,
            line: None,
            continues: false,
            ready: VecDeque::new(),
            ended: false,
        }
    }

    /// Reads one chunk.
    fn advance(&mut self) -> Result<(), LogError> {
        let left = usize::try_from(self.to.saturating_sub(self.at)).unwrap_or(usize::MAX);
        if left == 0 {
            self.end_line();
            self.ended = true;
            return Ok(());
        }
        match self.reader.read(self.at, left.min(READ_BYTES))? {
            Chunk::End { .. } => {
                self.end_line();
                self.ended = true;
            }
            Chunk::Gap { from, to, reason } => {
                self.end_line();
                self.continues = false;
                let to = to.min(self.to);
                self.ready.push_back(LineItem::Gap { from, to, reason });
                self.at = to;
            }
            Chunk::Data {
                offset,
                bytes,
                stream,
                time_us,
            } => {
                let mut offset = offset;
                for part in bytes.split_inclusive(|b| *b == b'\n') {
                    self.take(
                        part,
                        TimedLine {
                            offset,
                            time_us,
                            stream,
                            bytes: Vec::new(),
                            continues: self.continues,
                        },
                    );
                    offset += part.len() as u64;
                }
                self.at = offset;
            }
        }
        Ok(())
    }

    fn take(&mut self, part: &[u8], fresh: TimedLine) {
        let line = self.line.get_or_insert(fresh);
        line.bytes.extend_from_slice(part);
        let ends = part.ends_with(b"\n");
        if ends || line.bytes.len() >= PIECE_BYTES {
            self.end_line();
            self.continues = !ends;
        }
    }

    fn end_line(&mut self) {
        self.ready.extend(self.line.take().map(LineItem::Line));
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<LineItem, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(Ok(item));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.advance() {
                self.ended = true;
                return Some(Err(error));
            }
        }
    }
}
