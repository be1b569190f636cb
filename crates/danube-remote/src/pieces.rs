//! Cuts what the spool holds of a log into pieces for the master.

use danube_api::rpc::{LogMark, MarkKind, PIECE_BYTES_MAX, PIECE_RUNS_MAX};
use danube_joblog::{Chunk, LogError, LogReader, StreamKind};

/// What is sent at once. Offsets are those of the spool.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) bytes: Vec<u8>,
    pub(crate) runs: Vec<(char, u64, u64)>,
    pub(crate) marks: Vec<LogMark>,
    pub(crate) gap_to: Option<u64>,
}

impl Cut {
    /// There is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.marks.is_empty() && self.gap_to.is_none()
    }
}

/// What comes from `at` on, without the first `marks_sent` marks of the log.
pub(crate) fn cut(reader: &mut LogReader, at: u64, marks_sent: usize) -> Result<Cut, LogError> {
    reader.refresh()?;
    let mut cut = Cut::default();
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
    let marks = marks(reader).into_iter().skip(marks_sent);
    let within = marks.take_while(|it| it.at <= end);
    cut.marks = within.take(PIECE_RUNS_MAX).collect();
    Ok(cut)
}

/// Every mark of the steps, in order.
fn marks(reader: &LogReader) -> Vec<LogMark> {
    let mut marks = Vec::new();
    for step in reader.steps() {
        let mut mark = |at, what| marks.push(LogMark { at, what });
        mark(step.start, MarkKind::Begin(step.step));
        if let Some(id) = step.span_id {
            mark(step.start, MarkKind::Span(hex(&id)));
        }
        if let Some(end) = step.end {
            mark(end, MarkKind::End(step.step));
        }
    }
    marks
}

/// Hexadecimal digits of some bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use danube_joblog::{JobLogs, Limits, Mark, Rules, Secrets, Stream};

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
        assert!(cut(&mut reader, 8, 3).unwrap().is_empty());
        let again = cut(&mut reader, 4, 2).unwrap();
        assert_eq!((again.bytes, again.marks.len()), (b"err\n".to_vec(), 1));
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
