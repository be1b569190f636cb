//! Searches a whole log: linear in its bytes, in constant memory, block by block,
//! and hands on each hit as it is found.

use std::io;
use std::ops::{ControlFlow, Range};
use std::time::Instant;

use memchr::{memchr, memrchr};

use crate::ansi::{AnsiStripper, ESC};
use crate::query::SearchQuery;
use crate::reader::LogReader;
use crate::text::{Piece, line_ends};
use crate::types::LogError;

/// Bytes searched at once. Large enough that a search costs a block and not a
/// line, small enough to stay in the second cache. A longer line is searched in
/// pieces of this size.
const BLOCK_BYTES: usize = if cfg!(test) { 64 } else { 256 * 1024 };

/// How much of one piece of a long line is searched again with the next: a match
/// of up to this many bytes is found wherever it lies.
const OVERLAP_BYTES: usize = if cfg!(test) { 16 } else { 4 * 1024 };

/// How much a search may cost. It is looked at after each block of 256 KiB, so
/// that one which is resumed always gets on.
#[derive(Clone, Copy, Debug)]
pub struct SearchBudget {
    /// Bytes to scan.
    pub bytes: u64,
    /// When to stop.
    pub deadline: Option<Instant>,
}

/// A line that holds a match, with its first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchHit<'a> {
    /// The line's number, from 1.
    pub line: u64,
    /// Logical offset of the line's first byte that is there.
    pub line_offset: u64,
    /// The line without its end, and without escape sequences if they were to be
    /// left out; of a line of more than 256 KiB, a piece.
    pub text: &'a [u8],
    /// Where in `text` the match lies.
    pub range: Range<usize>,
}

/// How a search ended, and what it cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchEnd {
    /// Why it ended.
    pub outcome: SearchOutcome,
    /// Bytes scanned.
    pub bytes: u64,
    /// Lines scanned; one whose end was not seen counts.
    pub lines: u64,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchOutcome {
    /// At the end of the log.
    Finished,
    /// Its budget is used up.
    Budget {
        /// Where to search on.
        resume: u64,
    },
    /// Whoever took the hits wanted no more.
    Stopped {
        /// Where to search on.
        resume: u64,
    },
}

impl LogReader {
    /// Searches from the line at `from` on (an offset, 0 or a `resume`) to the end
    /// of the log as it is now, and calls `found` for each line with a match, as
    /// soon as it is found. A gap ends a line.
    ///
    /// A line of more than 256 KiB is searched in pieces: a match of more than
    /// 4 KiB in it may be cut or missed, and such a line may be found once more by
    /// a search that is resumed in it.
    ///
    /// # Errors
    /// What the system says.
    pub fn search(
        &mut self,
        query: &SearchQuery,
        from: u64,
        budget: SearchBudget,
        found: &mut dyn FnMut(SearchHit<'_>) -> ControlFlow<()>,
    ) -> Result<SearchEnd, LogError> {
        self.refresh()?;
        let end = self.end();
        let mut search = Search::new(query);
        search.run(self, from..end, budget, found)
    }
}

/// A search under way.
struct Search<'q> {
    query: &'q SearchQuery,
    /// The next byte to scan, the number of its line, and where that begins.
    at: u64,
    line: u64,
    line_offset: u64,
    /// That line has been found already.
    struck: bool,
    /// The end of what has been searched of that line, when it is a long one.
    carry: Vec<u8>,
    /// The first byte of `carry` is context only.
    carry_from: usize,
    /// Matches that end before this place of `carry` were found by the search
    /// that this one resumes.
    known: usize,
    stripper: AnsiStripper,
    raw: Vec<u8>,
    text: Vec<u8>,
    bytes: u64,
    lines: u64,
}

impl<'q> Search<'q> {
    fn new(query: &'q SearchQuery) -> Self {
        Self {
            query,
            at: 0,
            line: 1,
            line_offset: 0,
            struck: false,
            carry: Vec::new(),
            carry_from: 0,
            known: 0,
            stripper: AnsiStripper::new(),
            raw: Vec::new(),
            text: Vec::new(),
            bytes: 0,
            lines: 0,
        }
    }

    fn run(
        &mut self,
        reader: &mut LogReader,
        range: Range<u64>,
        budget: SearchBudget,
        found: &mut dyn FnMut(SearchHit<'_>) -> ControlFlow<()>,
    ) -> Result<SearchEnd, LogError> {
        let error = LogError::io("search job log");
        if range.start < range.end {
            self.begin(reader, range.start)?;
        }
        while self.at < range.end && range.start < range.end {
            let spent = self.bytes >= budget.bytes
                || budget.deadline.is_some_and(|it| it <= Instant::now());
            if spent && self.bytes > 0 {
                let resume = self.at;
                return Ok(self.end(SearchOutcome::Budget { resume }));
            }
            let (len, ends) = self.fill(reader, range.end).map_err(&error)?;
            if len == 0 {
                self.skip_gap(reader)?;
                continue;
            }
            let raw = std::mem::take(&mut self.raw);
            let stopped = self.block(&raw[..len], ends, found);
            self.raw = raw;
            if let Some(resume) = stopped {
                return Ok(self.end(SearchOutcome::Stopped { resume }));
            }
        }
        Ok(self.end(SearchOutcome::Finished))
    }

    fn end(&self, outcome: SearchOutcome) -> SearchEnd {
        SearchEnd {
            outcome,
            bytes: self.bytes,
            lines: self.lines,
        }
    }

    /// Goes to the start of the line at `from`, or as near as a long line needs.
    fn begin(&mut self, reader: &mut LogReader, from: u64) -> Result<(), LogError> {
        self.line = reader.line_at(from)?;
        let start = reader.line_start(self.line)?.map_or(from, |it| it.offset);
        // A gap ends a line, and what stands before it has been searched.
        let layout = &reader.index.layout;
        let there = layout.gap_end(from) == from;
        let since = if there {
            layout.whole_since(from)
        } else {
            from
        };
        let start = start.max(since).min(from);
        self.line_offset = start;
        self.at = start;
        if from - start < BLOCK_BYTES as u64 {
            return Ok(());
        }
        self.at = from;
        let mut context = vec![0; OVERLAP_BYTES + 1];
        let before = from - context.len() as u64;
        let have = read_all(reader, before, &mut context);
        if have.map_err(LogError::io("search job log"))? == context.len() {
            if self.query.strip_ansi {
                self.stripper.push(&context, &mut self.carry);
            } else {
                self.carry = context;
            }
            self.carry_from = 1;
            self.known = self.carry.len();
        }
        Ok(())
    }

    /// Reads the next block. Returns how much of it is to be searched, and whether
    /// the last line ends with it; 0 where nothing can be read.
    fn fill(&mut self, reader: &mut LogReader, end: u64) -> io::Result<(usize, bool)> {
        self.raw.resize(BLOCK_BYTES, 0);
        let left = usize::try_from(end - self.at).unwrap_or(usize::MAX);
        let have = read_all(reader, self.at, &mut self.raw[..left.min(BLOCK_BYTES)])?;
        if have < BLOCK_BYTES || have == left {
            return Ok((have, true));
        }
        Ok(match memrchr(b'\n', &self.raw) {
            Some(end) => (end + 1, true),
            None => (have, false),
        })
    }

    /// Goes on behind bytes that are missing.
    fn skip_gap(&mut self, reader: &mut LogReader) -> Result<(), LogError> {
        let layout = &reader.index.layout;
        let mut to = layout.gap_end(self.at);
        if to == self.at {
            // A tail went since the layout was read.
            reader.refresh()?;
            let layout = &reader.index.layout;
            to = layout.gap_end(self.at).max(layout.piece_end(self.at));
            to = to.max(self.at + 1);
        }
        self.at = to;
        self.line = reader.line_at(to)?;
        self.line_offset = to;
        self.struck = false;
        self.carry.clear();
        (self.carry_from, self.known) = (0, 0);
        self.stripper = AnsiStripper::new();
        Ok(())
    }

    /// Searches a block and moves behind it. Returns where to go on if enough
    /// has been found.
    fn block(
        &mut self,
        raw: &[u8],
        ends: bool,
        found: &mut dyn FnMut(SearchHit<'_>) -> ControlFlow<()>,
    ) -> Option<u64> {
        let mut own = std::mem::take(&mut self.text);
        let strip =
            self.query.strip_ansi && (self.stripper.in_sequence() || memchr(ESC, raw).is_some());
        let text = if strip || !self.carry.is_empty() {
            own.clear();
            own.extend_from_slice(&self.carry);
            if strip {
                self.stripper.push(raw, &mut own);
            } else {
                own.extend_from_slice(raw);
            }
            &own[..]
        } else {
            raw
        };
        let stopped = self.lines(raw, text, ends, found);
        if stopped.is_none() {
            self.at += raw.len() as u64;
            self.keep_carry(text, ends);
        }
        self.text = own;
        stopped
    }

    /// Searches the lines of a block.
    fn lines(
        &mut self,
        raw: &[u8],
        text: &[u8],
        ends: bool,
        found: &mut dyn FnMut(SearchHit<'_>) -> ControlFlow<()>,
    ) -> Option<u64> {
        self.bytes += raw.len() as u64;
        let first_line = self.line;
        // Where the current line begins in `raw` and in `text`.
        let (mut in_raw, mut in_text) = (0, 0);
        let mut from = self.carry_from;
        if self.struck {
            from = memchr(b'\n', text).map_or(text.len() + 1, |it| it + 1);
        }
        let mut stopped = None;
        // The place behind the last end of line is no line of this block.
        let behind = text.len() + usize::from(!raw.ends_with(b"\n"));
        while from < behind {
            let hit = self.query.regex.find_at(text, from);
            let Some(hit) = hit.filter(|it| it.start() < behind) else {
                break;
            };
            if hit.end() < self.known {
                from = hit.end().max(hit.start() + 1);
                continue;
            }
            let start = memrchr(b'\n', &text[..hit.start()]).map_or(0, |it| it + 1);
            let unsure = !ends && hit.end() == text.len();
            if unsure && hit.start() + OVERLAP_BYTES >= text.len() {
                break;
            }
            self.move_to(raw, &mut in_raw, line_ends(&text[in_text..start]));
            in_text = start;
            let end = memchr(b'\n', &text[hit.end()..]).map_or(text.len(), |it| hit.end() + it);
            let line = &text[start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.struck = end == text.len();
            from = end + 1;
            let flow = found(SearchHit {
                line: self.line,
                line_offset: self.line_offset,
                text: line,
                range: (hit.start() - start).min(line.len())..(hit.end() - start).min(line.len()),
            });
            if flow.is_break() {
                let next = memchr(b'\n', &raw[in_raw..]).map_or(raw.len(), |it| in_raw + it + 1);
                stopped = Some(self.at + next as u64);
                break;
            }
        }
        if stopped.is_none() {
            self.move_to(raw, &mut in_raw, line_ends(&text[in_text..]));
        }
        let unfinished = stopped.is_some() || !raw.ends_with(b"\n");
        self.lines += self.line - first_line + u64::from(unfinished && ends);
        stopped
    }

    /// Goes `lines` on.
    fn move_to(&mut self, raw: &[u8], in_raw: &mut usize, lines: u64) {
        let Some(nth) = lines.checked_sub(1) else {
            return;
        };
        let nth = usize::try_from(nth).unwrap_or(usize::MAX);
        let end = memchr::memchr_iter(b'\n', &raw[*in_raw..]).nth(nth);
        *in_raw = end.map_or(raw.len(), |it| *in_raw + it + 1);
        self.line += lines;
        self.line_offset = self.at + *in_raw as u64;
        self.struck = false;
    }

    /// Keeps what the next block needs of a line that goes on in it.
    fn keep_carry(&mut self, text: &[u8], ends: bool) {
        self.carry.clear();
        self.known = 0;
        if ends || text.ends_with(b"\n") {
            self.carry_from = 0;
            return;
        }
        let start = text.len().saturating_sub(OVERLAP_BYTES + 1);
        if start > 0 {
            self.carry_from = 1;
        }
        self.carry.extend_from_slice(&text[start..]);
    }
}

/// Reads on from file to file. Returns how much could be read before a gap.
fn read_all(reader: &mut LogReader, at: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < buf.len() {
        let layout = &reader.index.layout;
        match reader
            .text
            .read(layout, at + have as u64, &mut buf[have..])?
        {
            Piece::Bytes(n) => have += n,
            _ => break,
        }
    }
    Ok(have)
}

#[cfg(test)]
mod tests {
    use danube_redact::{Rules, Secrets};
    use proptest::prelude::*;

    use super::*;
    use crate::query::SearchOptions;
    use crate::types::Chunk;
    use crate::{JobLogs, Limits, Stream};

    const JOB: &str = "job";

    /// No match is longer than the overlap.
    const PATTERNS: &[&str] = &[
        "ab",
        "a.b",
        "^a",
        "b$",
        "[^a]b",
        "x{3}",
        r"\bab\b",
        "",
        "^$",
        "(?i)AX",
        r"\s",
        "(?-u:\\xff)",
    ];

    const ALL: SearchBudget = SearchBudget {
        bytes: u64::MAX,
        deadline: None,
    };

    /// Line, its offset, and what matched.
    type Hit = (u64, u64, Vec<u8>);

    fn logs(limits: Limits, parts: &[Vec<u8>]) -> (tempfile::TempDir, JobLogs) {
        let dir = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let logs = JobLogs::open(dir.path(), limits).unwrap();
        let mut writer = logs.writer(JOB, &Secrets::new(Rules::none())).unwrap();
        for part in parts {
            writer.write(Stream::Stdout, part).unwrap();
            writer.tick().unwrap();
        }
        drop(writer);
        (dir, logs)
    }

    /// Line by line, each by itself.
    fn naive(reader: &mut LogReader, query: &SearchQuery) -> Vec<Hit> {
        let (mut at, mut hits, mut run) = (0, Vec::new(), (0, Vec::new()));
        loop {
            match reader.read_raw(at, 1000).unwrap() {
                Chunk::Data { bytes, .. } => {
                    at += bytes.len() as u64;
                    run.1.extend_from_slice(&bytes);
                }
                Chunk::Gap { to, .. } => {
                    naive_run(reader, query, &run, &mut hits);
                    at = to;
                    run = (at, Vec::new());
                }
                Chunk::End { .. } => {
                    naive_run(reader, query, &run, &mut hits);
                    return hits;
                }
            }
        }
    }

    fn naive_run(
        reader: &mut LogReader,
        query: &SearchQuery,
        (start, bytes): &(u64, Vec<u8>),
        hits: &mut Vec<Hit>,
    ) {
        let mut offset = *start;
        for whole in bytes.split_inclusive(|b| *b == b'\n') {
            let mut shown = Vec::new();
            if query.strip_ansi {
                AnsiStripper::new().push(whole, &mut shown);
            } else {
                shown.extend_from_slice(whole);
            }
            // Behind the end of line is the next one.
            let len = shown.len() - usize::from(shown.ends_with(b"\n"));
            if let Some(hit) = query.regex.find(&shown).filter(|it| it.start() <= len) {
                let number = reader.line_at(offset).unwrap();
                hits.push((number, offset, shown[hit.range()].to_vec()));
            }
            offset += whole.len() as u64;
        }
    }

    fn search(reader: &mut LogReader, query: &SearchQuery, budget: SearchBudget) -> Vec<Hit> {
        let (mut hits, mut from) = (Vec::new(), 0);
        loop {
            let end = reader
                .search(query, from, budget, &mut |hit| {
                    let matched = hit.text[hit.range].to_vec();
                    hits.push((hit.line, hit.line_offset, matched));
                    ControlFlow::Continue(())
                })
                .unwrap();
            match end.outcome {
                SearchOutcome::Finished => return hits,
                SearchOutcome::Budget { resume } => {
                    assert!(resume > from, "a search gets on");
                    from = resume;
                }
                SearchOutcome::Stopped { .. } => panic!("nobody stopped it"),
            }
        }
    }

    /// A trailing `\r` that was matched is not part of the line that is handed on.
    fn trimmed(hits: Vec<Hit>) -> Vec<Hit> {
        let trim = |it: Vec<u8>| it.strip_suffix(b"\r").map(<[u8]>::to_vec).unwrap_or(it);
        hits.into_iter().map(|(a, b, c)| (a, b, trim(c))).collect()
    }

    fn parts() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let word = prop_oneof![
            4 => Just(&b"ab"[..]),
            4 => Just(&b"axb "[..]),
            4 => Just(&b"x"[..]),
            2 => Just(&b"xxxxxxxxxxxxxxxxxxxxxxxx"[..]),
            4 => Just(&b"\n"[..]),
            1 => Just(&b"\r\n"[..]),
            1 => Just(&b"\xff"[..]),
            1 => Just(&b"\x1b[31m"[..]),
            1 => Just(&b"a\x1b[0mb"[..]),
            1 => Just(&b"\x1b]0;ab\x07"[..]),
        ];
        let part = prop::collection::vec(word, 1..8).prop_map(|it| it.concat());
        prop::collection::vec(part, 0..30)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_search_finds_what_a_look_at_each_line_finds(
            parts in parts(),
            head in 1u64..300,
            room in 2u64..300,
            pattern in 0..PATTERNS.len(),
            strip_ansi in any::<bool>(),
            bytes in 0u64..200,
        ) {
            let (_dir, logs) = logs(Limits::new(head, head + room).unwrap(), &parts);
            let mut reader = logs.reader(JOB).unwrap();
            let options = SearchOptions { strip_ansi, ..SearchOptions::default() };
            let query = SearchQuery::new(PATTERNS[pattern], options).unwrap();
            let expected = trimmed(naive(&mut reader, &query));
            let found = search(&mut reader, &query, ALL);
            prop_assert_eq!(&trimmed(found), &expected);
            // And in many small searches; of a long line perhaps more than once.
            let budget = SearchBudget { bytes, deadline: None };
            let mut found = trimmed(search(&mut reader, &query, budget));
            found.dedup_by_key(|it| it.1);
            let places = |hits: &[Hit]| hits.iter().map(|it| it.1).collect::<Vec<_>>();
            prop_assert_eq!(places(&found), places(&expected));
        }
    }

    #[test]
    fn a_search_stops_when_it_is_told_and_goes_on_behind_that_line() {
        let text = b"no\nhit 1\nno\nhit 2\nhit 3".to_vec();
        let (_dir, logs) = logs(Limits::default(), &[text]);
        let mut reader = logs.reader(JOB).unwrap();
        let query = SearchQuery::new(r"hit \d", SearchOptions::default()).unwrap();
        let (mut from, mut seen) = (0, Vec::new());
        loop {
            let end = reader
                .search(&query, from, ALL, &mut |hit| {
                    let text = String::from_utf8_lossy(hit.text).into_owned();
                    seen.push((hit.line, hit.line_offset, text));
                    ControlFlow::Break(())
                })
                .unwrap();
            match end.outcome {
                SearchOutcome::Stopped { resume } => from = resume,
                SearchOutcome::Finished => break,
                SearchOutcome::Budget { .. } => panic!("no budget"),
            }
        }
        let expected = [(2, 3, "hit 1"), (4, 12, "hit 2"), (5, 18, "hit 3")];
        assert_eq!(seen, expected.map(|(a, b, c)| (a, b, c.to_owned())));
    }

    #[test]
    fn a_deadline_that_has_passed_lets_one_block_be_searched() {
        let (_dir, logs) = logs(Limits::default(), &[vec![b'\n'; 1000]]);
        let query = SearchQuery::new("x", SearchOptions::default()).unwrap();
        let budget = SearchBudget {
            bytes: u64::MAX,
            deadline: Some(Instant::now()),
        };
        let mut reader = logs.reader(JOB).unwrap();
        let end = reader
            .search(&query, 0, budget, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        let resume = BLOCK_BYTES as u64;
        assert_eq!(end.outcome, SearchOutcome::Budget { resume });
        assert_eq!((end.bytes, end.lines), (resume, resume));
    }

    #[test]
    fn the_end_of_a_piece_is_no_end_of_a_line_or_word() {
        for before in BLOCK_BYTES - 4..BLOCK_BYTES + 4 {
            let text = [&vec![b'-'; before], &b"xxxy"[..], &[b'-'; BLOCK_BYTES]].concat();
            let (_dir, logs) = logs(Limits::default(), &[text]);
            let mut reader = logs.reader(JOB).unwrap();
            for (pattern, hits) in [("x$", 0), (r"x\b", 0), ("^x", 0), (r"x{3}y\b", 1)] {
                let query = SearchQuery::new(pattern, SearchOptions::default()).unwrap();
                assert_eq!(search(&mut reader, &query, ALL).len(), hits, "{pattern}");
            }
        }
    }
}
