//! What the records of an index add up to: which logical bytes lie where.

use crate::format::{Entry, Record, Totals};
use crate::types::{AttemptStart, GapReason, Mark, StepRange, Summary};

/// One of a log's text files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextFile {
    /// `<job>.log`
    Head,
    /// `<job>.tail.<base>.log`, by the logical offset of its first byte.
    Tail(u64),
}

/// Logical bytes `start..end` lie in `file` from its byte `at` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) file: TextFile,
    pub(crate) at: u64,
}

/// The state of a log after some records.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Logical end.
    pub(crate) end: u64,
    /// Where bytes go now, and at which place in that file.
    pub(crate) file: TextFile,
    pub(crate) file_at: u64,
    /// What is there, in order.
    pub(crate) extents: Vec<Extent>,
    /// Logical offsets of the tail files that are kept: at most two.
    pub(crate) tails: Vec<u64>,
    lost: Vec<(u64, u64)>,
    /// An unknown number of bytes is missing (the writer died).
    cracked: bool,
    pub(crate) closed: bool,
    pub(crate) steps: Vec<StepRange>,
    pub(crate) attempts: Vec<AttemptStart>,
    pub(crate) plays: PlaysSeen,
    /// Of the last record that carries totals, and the offset it reaches to.
    pub(crate) totals: Totals,
    pub(crate) counted_to: u64,
}

/// Which plays and tasks of the latest attempt are marked. Not where: every reader has a
/// layout, and only who folds wants to know ([`crate::LogReader::folds`]).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlaysSeen {
    /// The number behind that of the last play.
    plays: u64,
    tasks: u64,
    ended: bool,
}

impl PlaysSeen {
    /// Whether a mark of a play or task is known already.
    pub(crate) fn knows(self, mark: Mark) -> bool {
        match mark {
            Mark::Play(it) => u64::from(it) < self.plays,
            Mark::Task(it) => u64::from(it) < self.tasks,
            Mark::PlaysEnd => self.ended,
            _ => false,
        }
    }
}

/// What is at a logical offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    In(Extent),
    Gap { to: u64, reason: GapReason },
    End,
}

impl Layout {
    pub(crate) fn new() -> Self {
        Self {
            end: 0,
            file: TextFile::Head,
            file_at: 0,
            extents: Vec::new(),
            tails: Vec::new(),
            lost: Vec::new(),
            cracked: false,
            closed: false,
            steps: Vec::new(),
            attempts: Vec::new(),
            plays: PlaysSeen::default(),
            totals: Totals::default(),
            counted_to: 0,
        }
    }

    /// Adds a record of the file. `false`, and nothing changed, when it or its
    /// totals contradict the ones before.
    pub(crate) fn apply_entry(&mut self, entry: &Entry) -> bool {
        let Some(totals) = entry.totals else {
            return self.apply(&entry.record);
        };
        let more = totals.lines.checked_sub(self.totals.lines);
        let bytes = entry.record.offset().saturating_sub(self.end);
        if more.is_none_or(|it| it > bytes) || totals.peak_us < self.totals.peak_us {
            return false;
        }
        if !self.apply(&entry.record) {
            return false;
        }
        self.totals = totals;
        self.counted_to = self.end;
        true
    }

    /// The totals with `record`, which brings this many ends of line.
    pub(crate) fn totals_with(&self, record: &Record, lines: u64) -> Totals {
        Totals {
            lines: self.totals.lines + lines,
            peak_us: self.totals.peak_us.max(record.time_us().unwrap_or(0)),
        }
    }

    /// Adds a record. `false`, and nothing changed, when it contradicts the ones
    /// before.
    pub(crate) fn apply(&mut self, record: &Record) -> bool {
        if record.offset() < self.end {
            return false;
        }
        match *record {
            Record::Flush { end, .. } => self.grow(end),
            Record::Mark { mark, at, time_us } => {
                if at != self.end {
                    return false;
                }
                self.mark(mark, time_us);
            }
            Record::Gap { from, len, end } => {
                if from.checked_add(len).is_none_or(|to| to > end) {
                    return false;
                }
                self.lose(from, from + len);
                self.end = end;
            }
            Record::Segment { base } => self.open_tail(base),
            Record::Close { end: at, .. } | Record::Open { at, .. } => {
                if at != self.end {
                    return false;
                }
            }
        }
        self.closed = matches!(record, Record::Close { .. });
        true
    }

    /// How many bytes of each text file the records name. The head is always there.
    pub(crate) fn file_ends(&self) -> Vec<(TextFile, u64)> {
        let files = self.tails.iter().map(|it| TextFile::Tail(*it));
        let end_of = |file: TextFile| {
            let own = self.extents.iter().filter(|it| it.file == file);
            let end = own.map(|it| it.at + (it.end - it.start)).max();
            let current = (self.file == file).then_some(self.file_at);
            (file, end.max(current).unwrap_or(0))
        };
        [TextFile::Head]
            .into_iter()
            .chain(files)
            .map(end_of)
            .collect()
    }

    fn grow(&mut self, end: u64) {
        let len = end - self.end;
        match self.extents.last_mut() {
            _ if len == 0 => {}
            Some(last)
                if last.file == self.file
                    && last.end == self.end
                    && last.at + (last.end - last.start) == self.file_at =>
            {
                last.end = end;
            }
            _ => self.extents.push(Extent {
                start: self.end,
                end,
                file: self.file,
                at: self.file_at,
            }),
        }
        self.file_at += len;
        self.end = end;
    }

    fn open_tail(&mut self, base: u64) {
        self.tails.push(base);
        if self.tails.len() > 2 {
            let gone = TextFile::Tail(self.tails.remove(0));
            self.extents.retain(|it| it.file != gone);
        }
        self.file = TextFile::Tail(base);
        self.file_at = 0;
        self.end = base;
    }

    fn lose(&mut self, from: u64, to: u64) {
        if from == to {
            self.cracked = true;
            return;
        }
        self.lost.push((from, to));
        let extents = std::mem::take(&mut self.extents);
        for it in extents {
            let before = Extent {
                end: it.end.min(from),
                ..it
            };
            let start = it.start.max(to);
            let behind = Extent {
                start,
                at: it.at + (start - it.start),
                ..it
            };
            self.extents
                .extend([before, behind].into_iter().filter(|it| it.start < it.end));
        }
    }

    fn mark(&mut self, mark: Mark, time_us: Option<u64>) {
        let start = self.end;
        let attempt = self.attempts.last().map_or(0, |it| it.attempt);
        match mark {
            Mark::Attempt(attempt) => {
                self.plays = PlaysSeen::default();
                self.attempts.push(AttemptStart {
                    attempt,
                    start,
                    time_us,
                });
            }
            Mark::Play(it) => self.plays.plays = u64::from(it) + 1,
            Mark::Task(it) => self.plays.tasks = u64::from(it) + 1,
            Mark::PlaysEnd => self.plays.ended = true,
            Mark::StepStart(step) => self.steps.push(StepRange {
                step,
                attempt,
                start,
                end: None,
                span_id: None,
            }),
            Mark::StepSpan(id) => {
                if let Some(it) = self.steps.last_mut() {
                    it.span_id = Some(id);
                }
            }
            Mark::StepEnd(step) => {
                let open = |it: &&mut StepRange| it.step == step && it.attempt == attempt;
                if let Some(it) = self.steps.iter_mut().rev().find(open) {
                    it.end = Some(start);
                }
            }
        }
    }

    /// What is at `offset`.
    pub(crate) fn place(&self, offset: u64) -> Place {
        if offset >= self.end {
            return Place::End;
        }
        let next = self.extents.partition_point(|it| it.end <= offset);
        let to = match self.extents.get(next) {
            Some(it) if it.start <= offset => return Place::In(*it),
            Some(it) => it.start,
            None => self.end,
        };
        if let Some((_, end)) = self.lost.iter().find(|it| it.0 <= offset && offset < it.1) {
            let reason = GapReason::Lost;
            return Place::Gap {
                to: to.min(*end),
                reason,
            };
        }
        let lost = self
            .lost
            .iter()
            .map(|it| it.0)
            .filter(|it| *it > offset)
            .min();
        Place::Gap {
            to: to.min(lost.unwrap_or(to)),
            reason: GapReason::Truncated,
        }
    }

    /// The first offset from `from` on at which bytes are missing or the log ends.
    pub(crate) fn whole_until(&self, from: u64) -> u64 {
        let mut at = from;
        while let Place::In(extent) = self.place(at) {
            at = extent.end;
        }
        at
    }

    /// The first offset from `from` on at which bytes are there or the log ends.
    pub(crate) fn gap_end(&self, from: u64) -> u64 {
        let mut at = from;
        while let Place::Gap { to, .. } = self.place(at) {
            at = to;
        }
        at
    }

    /// The lowest offset from which all bytes are there up to `at`.
    pub(crate) fn whole_since(&self, at: u64) -> u64 {
        let mut start = at;
        for it in self.extents.iter().rev() {
            if it.start < start && start <= it.end {
                start = it.start;
            }
        }
        start
    }

    /// Where the extent or the gap at `at` ends.
    pub(crate) fn piece_end(&self, at: u64) -> u64 {
        match self.place(at) {
            Place::In(extent) => extent.end,
            Place::Gap { to, .. } => to,
            Place::End => self.end.max(at),
        }
    }

    pub(crate) fn missing_bytes(&self) -> u64 {
        self.end - self.extents.iter().map(|it| it.end - it.start).sum::<u64>()
    }

    pub(crate) fn summary(&self) -> Summary {
        let missing_bytes = self.missing_bytes();
        Summary {
            bytes: self.end,
            complete: self.closed && missing_bytes == 0 && !self.cracked,
            missing_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::StreamKind;

    fn flush(end: u64) -> Record {
        Record::Flush {
            end,
            time_us: None,
            stream: StreamKind::Stdout,
            sum: None,
        }
    }

    fn layout(records: &[Record]) -> Layout {
        let mut layout = Layout::new();
        for record in records {
            assert!(layout.apply(record), "{record:?}");
        }
        layout
    }

    #[test]
    fn the_oldest_of_three_tails_goes_and_leaves_a_gap() {
        let it = layout(&[
            flush(10),
            Record::Segment { base: 10 },
            flush(15),
            Record::Segment { base: 15 },
            flush(20),
            Record::Segment { base: 20 },
            flush(23),
        ]);
        assert_eq!(
            it.place(12),
            Place::Gap {
                to: 15,
                reason: GapReason::Truncated
            }
        );
        assert_eq!(it.missing_bytes(), 5);
        assert!(matches!(
            it.place(16),
            Place::In(Extent {
                start: 15,
                file: TextFile::Tail(15),
                ..
            })
        ));
        assert_eq!(it.place(23), Place::End);
    }

    #[test]
    fn a_loss_in_the_middle_leaves_both_sides() {
        let it = layout(&[
            flush(10),
            Record::Gap {
                from: 4,
                len: 3,
                end: 10,
            },
            flush(12),
        ]);
        assert_eq!(
            it.place(5),
            Place::Gap {
                to: 7,
                reason: GapReason::Lost
            }
        );
        let behind = Extent {
            start: 7,
            end: 12,
            file: TextFile::Head,
            at: 7,
        };
        assert_eq!(it.place(8), Place::In(behind));
        assert_eq!(it.missing_bytes(), 3);
    }

    #[test]
    fn records_that_contradict_are_refused() {
        let mut it = layout(&[flush(10)]);
        assert!(!it.apply(&flush(9)));
        assert!(!it.apply(&Record::Close {
            end: 11,
            time_us: None
        }));
        assert!(!it.apply(&Record::Gap {
            from: 9,
            len: 5,
            end: 10
        }));
        assert!(it.apply(&Record::Close {
            end: 10,
            time_us: None
        }));
        assert!(it.summary().complete);
        assert!(it.apply(&flush(11)));
        assert!(!it.summary().complete);
    }
}
