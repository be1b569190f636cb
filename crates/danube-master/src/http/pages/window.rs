//! Reads some lines of a log, as a page or its script shows them.
//!
//! What it costs is bounded by what is shown: the index says where a line stands, a long line is
//! read to a limit and passed over, and what is before and after the window is never looked at.

use std::collections::VecDeque;

use danube_joblog::{Chunk, Fold, LineItem, LogError, LogReader, StepRange, StreamKind, TimedLine};
use danube_model::{Job, State, Step, StepStatus};
use danube_pages::log::{
    FoldKind, Gap, GapReason, LINES_MAX, LineAt, LogFold, LogWindow, Row, Stream, Terminal,
    WINDOW_BYTES_MAX,
};

/// Bytes of one line that are read. A progress bar that redraws itself for hours fits; of a
/// longer one the rest is counted.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes that are read for one window, and one line more.
const READ_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Folds that a window says something of. Each costs a look into the index.
const FOLDS_MAX: usize = 300;

/// Characters of a fold's name.
const NAME_CHARS_MAX: usize = 200;

/// Which lines are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// From this one on.
    From(u64),
    /// From that on which holds this logical offset.
    At(u64),
    /// Those before this one.
    Before(u64),
    /// The last ones.
    End,
    /// Those up to this logical offset.
    UpTo(u64),
}

/// What the store knows of the job.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Its steps by number: name and status.
    steps: Vec<(String, StepStatus)>,
    attempt: u32,
    /// It ended without success, so what went well is folded away.
    has_failed: bool,
    has_ended: bool,
    /// Its plays and tasks, named.
    pub(super) folds: Vec<(Fold, Option<String>)>,
}

impl Known {
    pub(super) fn new(job: &Job) -> Self {
        let step = |it: &Step| (it.name.clone(), it.status);
        Self {
            steps: job.steps.iter().map(step).collect(),
            attempt: job.attempt,
            has_failed: matches!(job.state, State::Failure | State::Timeout),
            has_ended: job.state.is_terminal(),
            folds: Vec::new(),
        }
    }

    /// A job that has failed, of these steps.
    #[cfg(test)]
    pub(super) fn of_steps(steps: &[(&str, StepStatus)]) -> Self {
        let step = |it: &(&str, StepStatus)| (it.0.to_owned(), it.1);
        Self {
            steps: steps.iter().map(step).collect(),
            attempt: 1,
            has_failed: true,
            has_ended: true,
            folds: Vec::new(),
        }
    }

    /// A log of which nothing is there.
    pub(super) fn empty(&self) -> LogWindow {
        LogWindow {
            has_ended: self.has_ended,
            first_line: 1,
            next_line: 1,
            ..LogWindow::default()
        }
    }
}

/// At most so many lines of the log.
pub(super) fn window(
    reader: &mut LogReader,
    (place, lines): (Place, u64),
    known: &Known,
) -> Result<LogWindow, LogError> {
    reader.refresh()?;
    let (end, count) = (reader.end(), reader.line_count()?);
    let lines = lines.min(LINES_MAX);
    let mut reading = Reading::new(reader, end);
    let (first, next) = match place {
        Place::From(line) => reading.forward(line.clamp(1, count.max(1)), lines)?,
        Place::At(offset) => {
            let line = reading.reader.line_at(offset.min(end))?;
            reading.forward(line.clamp(1, count.max(1)), lines)?
        }
        Place::Before(line) => reading.backward(line.clamp(1, count + 1), lines)?,
        Place::End => reading.backward(count + 1, lines)?,
        Place::UpTo(offset) => {
            let line = line_from(reading.reader, offset)?;
            reading.backward(line, lines)?
        }
    };
    let rows: Vec<Row> = reading.shown.rows.into();
    let folds = folds(reader, &rows, known)?;
    Ok(LogWindow {
        lines: count,
        bytes: end,
        has_ended: known.has_ended,
        start_us: reader.attempts().first().and_then(|it| it.time_us),
        first_line: rows.first().map_or(first, |it| it.line),
        next_line: next,
        rows,
        folds,
    })
}

/// The first line that begins at or after an offset.
fn line_from(reader: &mut LogReader, offset: u64) -> Result<u64, LogError> {
    let line = reader.line_at(offset)?;
    let start = reader.line_start(line)?;
    Ok(line + u64::from(start.is_some_and(|it| it.offset < offset)))
}

/// A window as it is read.
struct Reading<'a> {
    reader: &'a mut LogReader,
    end: u64,
    shown: Shown,
}

/// What has been read.
struct Shown {
    terminal: Terminal,
    rows: VecDeque<Row>,
    weight: usize,
    /// Rows that come first give way to later ones, where not all fit.
    keeps_last: bool,
    /// Where steps begin: what one has written its colours with is no matter of the next.
    begins: VecDeque<u64>,
    /// Bytes that were read.
    bytes: u64,
    /// The line that comes next, or is being read.
    number: u64,
    /// No line from this one on is wanted.
    until: u64,
    begun: Option<LineAt>,
    /// Bytes of that line.
    line_bytes: u64,
    /// What comes next goes on with the line before, behind a gap.
    continues: bool,
}

/// Why no more is read at a stretch.
enum Stop {
    /// Nothing more is wanted, or fits.
    Full,
    /// The log has no more.
    End,
    /// The line goes on at this offset, and on.
    Long(u64),
    Gap(Gap),
}

impl<'a> Reading<'a> {
    fn new(reader: &'a mut LogReader, end: u64) -> Self {
        let shown = Shown {
            begins: reader.steps().iter().map(|it| it.start).collect(),
            terminal: Terminal::new(),
            rows: VecDeque::new(),
            weight: 0,
            keeps_last: false,
            bytes: 0,
            number: 0,
            until: 0,
            begun: None,
            line_bytes: 0,
            continues: false,
        };
        Self { reader, end, shown }
    }

    /// Lines from this one on. Returns it, and the one after the last.
    fn forward(&mut self, line: u64, lines: u64) -> Result<(u64, u64), LogError> {
        let Some((number, at)) = self.start(line)? else {
            return Ok((line, line));
        };
        self.read(number, at, line.saturating_add(lines))?;
        Ok((line, self.shown.number))
    }

    /// The lines before this one.
    fn backward(&mut self, line: u64, lines: u64) -> Result<(u64, u64), LogError> {
        let mut first = line.saturating_sub(lines).max(1);
        let end = self
            .reader
            .line_start(line)?
            .map_or(self.end, |it| it.offset);
        let mut start = self.start(first)?;
        // So much that it isn't read for one window: half of it, and again.
        while first + 1 < line
            && start.is_some_and(|(_, at)| end.saturating_sub(at) > READ_BYTES_MAX)
        {
            first += (line - first).div_ceil(2);
            start = self.start(first)?;
        }
        if let Some((number, at)) = start.filter(|_| first < line) {
            self.end = end;
            self.shown.keeps_last = true;
            self.read(number, at, line)?;
        }
        Ok((first, line))
    }

    /// Where to read from for a line: its number and offset, or those of what the gap cuts off in
    /// which it lies.
    fn start(&mut self, line: u64) -> Result<Option<(u64, u64)>, LogError> {
        let Some(start) = self.reader.line_start(line)? else {
            return Ok(None);
        };
        // The first line behind a gap comes without it: a window above ends with that.
        if !start.in_gap || self.reader.line_at(start.offset)? == line {
            return Ok(Some((line, start.offset)));
        }
        let mut at = 0;
        loop {
            let gap = self.reader.whole_until(at);
            at = match self.reader.read_raw(gap, 1)? {
                Chunk::Gap { to, .. } if to < start.offset => to,
                Chunk::Gap { to, .. } if to == start.offset => {
                    return self.cut_off_at(gap).map(Some);
                }
                // It went while we looked.
                _ => {
                    let number = self.reader.line_at(start.offset)?;
                    return Ok(Some((number, start.offset)));
                }
            };
        }
    }

    /// The line that a gap cuts off, with what is there of it: its number and offset.
    fn cut_off_at(&mut self, gap: u64) -> Result<(u64, u64), LogError> {
        let number = self.reader.line_at(gap)?;
        let begin = self.reader.line_start(number)?;
        let begin = begin.filter(|it| !it.in_gap && it.offset <= gap);
        Ok((number, begin.map_or(gap, |it| it.offset)))
    }

    /// Reads lines from this offset on, up to the one with the number `until`.
    fn read(&mut self, number: u64, at: u64, until: u64) -> Result<(), LogError> {
        (self.shown.number, self.shown.until) = (number, until);
        let mut at = at;
        while at < self.end {
            at = match self.stretch(at)? {
                Stop::Full => break,
                Stop::End => {
                    self.shown.end_line(0);
                    break;
                }
                Stop::Long(at) => match self.pass_over(at)? {
                    Some(at) => at,
                    None => break,
                },
                Stop::Gap(gap) => {
                    let next = self.reader.line_at(gap.to)?;
                    if !self.shown.gap(gap, next) {
                        break;
                    }
                    gap.to
                }
            };
        }
        Ok(())
    }

    /// Reads to what can't be read at a stretch.
    fn stretch(&mut self, at: u64) -> Result<Stop, LogError> {
        for item in self.reader.lines_with_time(at, self.end) {
            match item? {
                LineItem::Line(piece) => {
                    if let Some(stop) = self.shown.piece(&piece) {
                        return Ok(stop);
                    }
                }
                LineItem::Gap { from, to, reason } => {
                    let reason = match reason {
                        danube_joblog::GapReason::Truncated => GapReason::Truncated,
                        danube_joblog::GapReason::Lost => GapReason::Lost,
                    };
                    let lines = 0;
                    return Ok(Stop::Gap(Gap {
                        from,
                        to,
                        lines,
                        reason,
                    }));
                }
            }
        }
        Ok(Stop::End)
    }

    /// Goes to the end of a line without reading it, or to the gap that cuts it off. None where
    /// no more fits.
    fn pass_over(&mut self, at: u64) -> Result<Option<u64>, LogError> {
        let next = self.reader.line_start(self.shown.number + 1)?;
        let whole = self.reader.whole_until(at);
        let to = next
            .map_or(self.end, |it| it.offset)
            .min(whole)
            .min(self.end);
        let ends = to == self.end || next.is_some_and(|it| it.offset == to && !it.in_gap);
        let fits = if ends {
            let newline = u64::from(next.is_some());
            self.shown.end_line((to - at).saturating_sub(newline))
        } else {
            self.shown.cut_line(to - at)
        };
        Ok(Some(to).filter(|_| fits && !self.shown.is_full()))
    }
}

impl Shown {
    /// Takes a line, or a piece of a long one. Says so where reading can't just go on.
    fn piece(&mut self, piece: &TimedLine) -> Option<Stop> {
        if self.begun.is_none() {
            while self.begins.front().is_some_and(|it| *it <= piece.offset) {
                self.begins.pop_front();
                self.terminal.reset();
            }
            self.begun = Some(LineAt {
                line: self.number,
                continues: std::mem::take(&mut self.continues),
                offset: piece.offset,
                time_us: piece.time_us,
                stream: match piece.stream {
                    StreamKind::Stdout => Stream::Stdout,
                    StreamKind::Stderr => Stream::Stderr,
                    StreamKind::Mixed => Stream::Mixed,
                },
            });
        }
        let bytes = piece.bytes.len() as u64;
        self.terminal.push(&piece.bytes);
        self.line_bytes += bytes;
        self.bytes += bytes;
        if piece.bytes.ends_with(b"\n") {
            let goes_on = self.end_line(0) && !self.is_full();
            return (!goes_on).then_some(Stop::Full);
        }
        (self.line_bytes >= LINE_BYTES_MAX).then_some(Stop::Long(piece.offset + bytes))
    }

    /// Whether no line more is wanted.
    fn is_full(&self) -> bool {
        let is_costly = self.bytes >= READ_BYTES_MAX && !self.keeps_last;
        self.number >= self.until || is_costly
    }

    /// The line that is being read ends. Says whether it still fits.
    fn end_line(&mut self, unread_bytes: u64) -> bool {
        let fits = self.cut_line(unread_bytes);
        self.number += u64::from(fits && std::mem::take(&mut self.continues));
        fits
    }

    /// What was read of a line is all that is there of it. Says whether it still fits.
    fn cut_line(&mut self, unread_bytes: u64) -> bool {
        let Some(at) = self.begun.take() else {
            return true;
        };
        self.line_bytes = 0;
        let row = self.terminal.end_line(at, unread_bytes);
        let fits = self.push(row);
        self.continues = fits;
        fits
    }

    /// Bytes are missing, and then comes the line with this number. Says whether that still fits.
    fn gap(&mut self, gap: Gap, next: u64) -> bool {
        if !self.cut_line(0) {
            return false;
        }
        let lines = next.saturating_sub(self.number);
        self.continues &= lines == 0;
        self.terminal.reset();
        let fits = self.push(Row::gap(self.number, Gap { lines, ..gap }));
        if fits {
            self.number = next;
        }
        fits && !self.is_full()
    }

    fn push(&mut self, row: Row) -> bool {
        let weight = row.weight_bytes();
        if self.weight + weight > WINDOW_BYTES_MAX && !self.keeps_last && !self.rows.is_empty() {
            return false;
        }
        self.weight += weight;
        self.rows.push_back(row);
        while self.weight > WINDOW_BYTES_MAX && self.rows.len() > 1 {
            let gone = self.rows.pop_front();
            self.weight -= gone.map_or(0, |it| it.weight_bytes());
        }
        true
    }
}

/// The steps, plays and tasks in which these rows lie.
fn folds(reader: &mut LogReader, rows: &[Row], known: &Known) -> Result<Vec<LogFold>, LogError> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Ok(Vec::new());
    };
    let (from, to) = (first.offset, last.offset);
    let is_near = |start: u64, end: Option<u64>| {
        start <= to && end.is_none_or(|end| end > from && end > start)
    };
    let steps = reader.steps();
    let steps = steps.iter().filter(|it| is_near(it.start, it.end));
    let steps = steps.map(|it| of_step(it, known));
    let others = known.folds.iter();
    let others = others.filter(|(it, _)| is_near(it.start, it.end));
    let others = others.map(|(fold, name)| of_playbook(fold, name.as_deref()));
    let mut folds: Vec<LogFold> = steps.chain(others).take(FOLDS_MAX).collect();
    for fold in &mut folds {
        fold.first_line = line_from(reader, fold.start)?;
        fold.end_line = fold.end.map(|it| line_from(reader, it)).transpose()?;
    }
    Ok(folds)
}

fn of_step(range: &StepRange, known: &Known) -> LogFold {
    let step = usize::try_from(range.step)
        .ok()
        .and_then(|it| known.steps.get(it));
    let is_latest = range.attempt == known.attempt;
    let status = step.filter(|_| is_latest).map(|it| it.1);
    let went_well = matches!(status, Some(StepStatus::Success | StepStatus::Skipped));
    let name = step.map_or_else(|| (range.step + 1).to_string(), |it| it.0.clone());
    LogFold {
        id: format!("{}-s{}", range.attempt, range.step),
        kind: FoldKind::Step,
        name: if is_latest {
            name
        } else {
            format!("{name} (attempt {})", range.attempt)
        },
        status: status.map(|it| it.as_str().to_owned()),
        attempt: range.attempt,
        start: range.start,
        end: range.end,
        first_line: 0,
        end_line: None,
        is_open: !(known.has_failed && (went_well || !is_latest)),
    }
}

fn of_playbook(fold: &Fold, name: Option<&str>) -> LogFold {
    let (kind, letter) = match fold.kind {
        danube_joblog::FoldKind::Play => (FoldKind::Play, 'p'),
        danube_joblog::FoldKind::Task => (FoldKind::Task, 't'),
    };
    let number = || (fold.number + 1).to_string();
    LogFold {
        id: format!("{}-{letter}{}", fold.attempt, fold.number),
        kind,
        name: name.map_or_else(number, |it| it.chars().take(NAME_CHARS_MAX).collect()),
        status: None,
        attempt: fold.attempt,
        start: fold.start,
        end: fold.end,
        first_line: 0,
        end_line: None,
        is_open: true,
    }
}
