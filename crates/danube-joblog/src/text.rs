//! Reads a log's text files by logical offset.

use std::fs::File;
use std::io;
use std::ops::Range;

use crate::files::{Paths, open_existing, read_into};
use crate::layout::{Extent, Layout, Place, TextFile};
use crate::types::GapReason;

/// Bytes read at once where a text is only looked through.
const COUNT_BYTES: usize = 128 * 1024;

/// The text files of one log, opened when they are first needed.
pub(crate) struct Text {
    paths: Paths,
    head: Option<File>,
    tail: Option<(u64, File)>,
    /// Reused by everything that looks through a stretch of text.
    block: Vec<u8>,
}

/// What stands at a place of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// So many bytes, at least one.
    Bytes(usize),
    Gap {
        to: u64,
        reason: GapReason,
    },
    End,
    /// The layout says that bytes are there, and they are not (any more).
    Gone {
        to: u64,
    },
}

impl Text {
    pub(crate) fn new(paths: Paths) -> Self {
        Self {
            paths,
            head: None,
            tail: None,
            block: Vec::new(),
        }
    }

    /// Whether there is such a log.
    pub(crate) fn open_head(&mut self) -> io::Result<bool> {
        Ok(self.file(TextFile::Head)?.is_some())
    }

    fn file(&mut self, file: TextFile) -> io::Result<Option<&File>> {
        let TextFile::Tail(base) = file else {
            if self.head.is_none() {
                self.head = open_existing(&self.paths.text(file))?;
            }
            return Ok(self.head.as_ref());
        };
        if self.tail.as_ref().is_none_or(|it| it.0 != base) {
            let file = open_existing(&self.paths.text(file))?;
            self.tail = file.map(|it| (base, it));
        }
        Ok(self.tail.as_ref().map(|it| &it.1))
    }

    /// Reads from the logical offset `from` on; never beyond one file or a gap.
    pub(crate) fn read(&mut self, layout: &Layout, from: u64, buf: &mut [u8]) -> io::Result<Piece> {
        match layout.place(from) {
            Place::End => Ok(Piece::End),
            Place::Gap { to, reason } => Ok(Piece::Gap { to, reason }),
            Place::In(extent) => self.read_in(extent, from, buf),
        }
    }

    /// As `read`, in an extent that is known.
    pub(crate) fn read_in(
        &mut self,
        extent: Extent,
        from: u64,
        buf: &mut [u8],
    ) -> io::Result<Piece> {
        let left = usize::try_from(extent.end - from).unwrap_or(usize::MAX);
        let len = left.min(buf.len());
        let have = match self.file(extent.file)? {
            Some(file) => read_into(file, extent.at + (from - extent.start), &mut buf[..len])?,
            None => 0,
        };
        Ok(match have {
            0 => Piece::Gone { to: extent.end },
            _ => Piece::Bytes(have),
        })
    }

    /// Shows what is there of a stretch, in order and in constant memory, until
    /// `show` has seen enough.
    pub(crate) fn walk(
        &mut self,
        layout: &Layout,
        range: Range<u64>,
        mut show: impl FnMut(u64, Seen<'_>) -> Walk,
    ) -> io::Result<()> {
        let mut block = std::mem::take(&mut self.block);
        block.resize(COUNT_BYTES, 0);
        let mut at = range.start;
        while at < range.end {
            let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
            let len = left.min(block.len());
            let (seen, next) = match self.read(layout, at, &mut block[..len])? {
                Piece::Bytes(n) => (Seen::Bytes(&block[..n]), at + n as u64),
                Piece::Gap { to, .. } | Piece::Gone { to } => {
                    let to = to.min(range.end);
                    (Seen::Gap { to }, to)
                }
                Piece::End => break,
            };
            if show(at, seen) == Walk::Enough {
                break;
            }
            at = next;
        }
        self.block = block;
        Ok(())
    }

    /// Ends of line in what is there of a stretch.
    pub(crate) fn count_lines(&mut self, layout: &Layout, range: Range<u64>) -> io::Result<u64> {
        let mut lines = 0;
        self.walk(layout, range, |_, seen| {
            if let Seen::Bytes(bytes) = seen {
                lines += line_ends(bytes);
            }
            Walk::On
        })?;
        Ok(lines)
    }

    /// The byte at `at`, if it is there.
    pub(crate) fn byte(&mut self, layout: &Layout, at: u64) -> io::Result<Option<u8>> {
        let mut byte = [0];
        Ok(match self.read(layout, at, &mut byte)? {
            Piece::Bytes(_) => Some(byte[0]),
            _ => None,
        })
    }
}

/// A piece of a stretch.
pub(crate) enum Seen<'a> {
    Bytes(&'a [u8]),
    Gap { to: u64 },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walk {
    On,
    Enough,
}

/// How many lines end in `bytes`.
pub(crate) fn line_ends(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}
