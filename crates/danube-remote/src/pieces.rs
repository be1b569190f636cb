//! Cuts what the spool holds of a log into pieces for the master.

use danube_api::rpc::{LogMark, MarkKind, PIECE_BYTES_MAX, PIECE_RUNS_MAX};
use danube_joblog::{Chunk, LogError, LogReader, Mark, StreamKind};

/// What is sent at once. Offsets are those of the spool.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) bytes: Vec<u8>,
    pub(crate) runs: Vec<(char, u64, u64)>,
    pub(crate) marks: Vec<LogMark>,
    pub(crate) gap_to: Option<u64>,
    /// Where the spool's index goes on behind what was sent with this.
    pub(crate) records: u64,
}

impl Cut {
    /// There is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.marks.is_empty() && self.gap_to.is_none()
    }

    /// Leaves so many bytes, and what comes behind them to the next.
    fn end_at(&mut self, bytes: u64) {
        self.bytes
            .truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.gap_to = None;
        let mut left = bytes;
        for run in &mut self.runs {
            run.1 = run.1.min(left);
            left -= run.1;
        }
        self.runs.retain(|it| it.1 > 0);
    }
}

/// What comes from `at` on, with the marks from the place `records` of the index on.
pub(crate) fn cut(reader: &mut LogReader, at: u64, records: u64) -> Result<Cut, LogError> {
    reader.refresh()?;
    let mut cut = Cut {
        records,
        ..Cut::default()
    };
    let mut end = at;
    while cut.bytes.len() < PIECE_BYTES_MAX && cut.runs.len() < PIECE_RUNS_MAX {
        match reader.read(end, PIECE_BYTES_MAX - cut.bytes.len())? {
            Chunk::Data {
                bytes,
                stream,
                time_us,
                ..
            } => {
                let from = match stream {
                    StreamKind::Stdout => 'o',
                    StreamKind::Stderr => 'e',
                    StreamKind::Mixed => 'm',
                };
                let len = bytes.len() as u64;
                end += len;
                cut.runs.push((from, len, time_us.unwrap_or(0)));
                cut.bytes.extend_from_slice(&bytes);
            }
            Chunk::Gap { to, .. } => {
                cut.gap_to = Some(to);
                break;
            }
            Chunk::End { .. } => break,
        }
    }
    let behind = marks(reader, (at, end), &mut cut)?;
    if let Some(to) = behind {
        // The next piece begins with that mark: behind its bytes it would find no place.
        cut.end_at(to - at);
    }
    Ok(cut)
}

/// Adds the marks between two offsets; where the first stands that has no room any more.
fn marks(
    reader: &mut LogReader,
    (from, to): (u64, u64),
    cut: &mut Cut,
) -> Result<Option<u64>, LogError> {
    loop {
        let found = reader.marks(cut.records, PIECE_RUNS_MAX)?;
        for it in &found.marks {
            let Some(what) = kind(it.mark).filter(|_| it.at >= from) else {
                // Those before are sent, or their place is.
                cut.records = it.next;
                continue;
            };
            if it.at > to {
                return Ok(None);
            }
            if cut.marks.len() == PIECE_RUNS_MAX {
                return Ok(Some(it.at));
            }
            cut.marks.push(LogMark { at: it.at, what });
            cut.records = it.next;
        }
        if found.marks.len() < PIECE_RUNS_MAX {
            cut.records = found.next;
            return Ok(None);
        }
    }
}

/// What a mark is on its way; the attempt's own is made by who keeps the copy.
fn kind(mark: Mark) -> Option<MarkKind> {
    match mark {
        Mark::Attempt(_) => None,
        Mark::StepStart(step) => Some(MarkKind::Begin(step)),
        Mark::StepEnd(step) => Some(MarkKind::End(step)),
        Mark::StepSpan(id) => Some(MarkKind::Span(hex(&id))),
        Mark::Play(number) => Some(MarkKind::Play(number)),
        Mark::Task(number) => Some(MarkKind::Task(number)),
        Mark::PlaysEnd => Some(MarkKind::PlaysEnd(())),
    }
}

/// Hexadecimal digits of some bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use danube_joblog::{JobLogs, Limits, Rules, Secrets, Stream};

    use super::*;

    fn logs(limits: Limits) -> (tempfile::TempDir, JobLogs) {
        let dir = tempfile::tempdir().unwrap();
        let logs = JobLogs::open(dir.path(), limits).unwrap();
        (dir, logs)
    }

    #[test]
    fn pieces_hold_all_bytes_with_their_streams_and_each_mark_once() {
        let (_dir, logs) = logs(Limits::default());
        let mut writer = logs.writer("j", &Secrets::new(Rules::none())).unwrap();
        writer.mark(Mark::StepStart(0)).unwrap();
        writer.mark(Mark::StepSpan([1; 8])).unwrap();
        writer.write(Stream::Stdout, b"out\n").unwrap();
        writer.write(Stream::Stderr, b"err\n").unwrap();
        writer.mark(Mark::StepEnd(0)).unwrap();
        let mut reader = logs.reader("j").unwrap();
        let first = cut(&mut reader, 0, 0).unwrap();
        assert_eq!(first.bytes, b"out\nerr\n");
        let runs: Vec<_> = first.runs.iter().map(|it| (it.0, it.1)).collect();
        assert_eq!(runs, [('o', 4), ('e', 4)]);
        let marks: Vec<_> = first.marks.iter().map(|it| (it.at, &it.what)).collect();
        let span = MarkKind::Span("0101010101010101".to_owned());
        let expected = [(0, &MarkKind::Begin(0)), (0, &span), (8, &MarkKind::End(0))];
        assert_eq!(marks, expected);
        assert!(cut(&mut reader, 8, first.records).unwrap().is_empty());
        // The master had less than was thought: what it has is passed over.
        let again = cut(&mut reader, 4, 0).unwrap();
        assert_eq!((again.bytes, again.marks.len()), (b"err\n".to_vec(), 1));
    }

    #[test]
    fn more_marks_than_a_piece_holds_come_with_the_next_and_each_where_it_stands() {
        const TASKS: u32 = 3 * 64 + 5;
        let (_dir, logs) = logs(Limits::default());
        let mut writer = logs.writer("j", &Secrets::new(Rules::none())).unwrap();
        for task in 0..TASKS {
            writer.mark(Mark::Task(task)).unwrap();
            // Some have no output.
            if task % 3 > 0 {
                writer.write(Stream::Stdout, b"ok\n").unwrap();
            }
        }
        writer.mark(Mark::PlaysEnd).unwrap();
        let mut reader = logs.reader("j").unwrap();
        let (mut at, mut records, mut found) = (0, 0, Vec::new());
        let mut copy = logs.copy("copy", 1).unwrap();
        loop {
            let cut = cut(&mut reader, at, records).unwrap();
            if cut.is_empty() {
                break;
            }
            let sum: u64 = cut.runs.iter().map(|it| it.1).sum();
            assert_eq!(sum, cut.bytes.len() as u64);
            let marks = cut.marks.iter().map(|it| match &it.what {
                MarkKind::Task(number) => (it.at, Mark::Task(*number)),
                _ => (it.at, Mark::PlaysEnd),
            });
            let marks: Vec<_> = marks.collect();
            let piece = danube_joblog::Piece {
                offset: at,
                bytes: &cut.bytes,
                runs: &[],
                marks: &marks,
                gap_to: None,
            };
            at = copy.append(&piece).unwrap();
            // An answer that is lost: it comes once more.
            assert_eq!(copy.append(&piece).unwrap(), at);
            records = cut.records;
            found.extend(cut.marks);
        }
        assert_eq!(found.len(), TASKS as usize + 1);
        let folds = |job| logs.reader(job).unwrap().folds(1_000).unwrap();
        let there: Vec<_> = folds("j").iter().map(|it| (it.start, it.end)).collect();
        let here: Vec<_> = folds("copy").iter().map(|it| (it.start, it.end)).collect();
        assert_eq!(here, there);
    }

    #[test]
    fn what_the_spool_has_no_room_for_is_a_gap() {
        let (_dir, logs) = logs(Limits {
            head_bytes: 8,
            total_bytes: 24,
        });
        let mut writer = logs.writer("j", &Secrets::new(Rules::none())).unwrap();
        for n in 0..10 {
            let line = format!("line {n}\n");
            writer.write(Stream::Stdout, line.as_bytes()).unwrap();
            writer.tick().unwrap();
        }
        let mut reader = logs.reader("j").unwrap();
        let mut at = 0;
        let (mut bytes, mut missing) = (0, 0);
        loop {
            let cut = cut(&mut reader, at, 0).unwrap();
            if cut.is_empty() {
                break;
            }
            bytes += cut.bytes.len() as u64;
            at += cut.bytes.len() as u64;
            if let Some(to) = cut.gap_to {
                missing += to - at;
                at = to;
            }
        }
        assert_eq!((at, bytes + missing), (70, 70));
        assert!(missing > 0);
    }
}
