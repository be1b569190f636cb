//! Redacts a stream: keeps what is not decided yet, scans the text as it came
//! and once more without escape sequences, and puts out the union.
//!
//! `bytes` holds, in this order: context that is out already but may be looked
//! back at; bytes whose positions have to be tried again (`start` on), of which
//! those before `released` are out; and bytes not scanned yet (`scanned` on).

use std::sync::Arc;

use memchr::{memchr, memrchr2};
use zeroize::Zeroizing;

use crate::ansi::ESC;
use crate::engine::{Engine, OpenRun, Scan, Strike};
use crate::matcher::{Block, LOOK_BEHIND_BYTES};
use crate::visible::Visible;
use crate::{Counts, MASK, Secrets};

/// A line longer than this is scanned in parts. It bounds the memory of a
/// stream; the output does not depend on it.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Escape sequences between two masked characters are masked with them up to
/// this many bytes; more of them pass, or their end would have to be awaited.
pub(crate) const SEQUENCES_BYTES_MAX: usize = if cfg!(test) { 12 } else { 1024 };

/// A run in the visible text that goes on in the next block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct VisibleRun {
    run: OpenRun,
    /// Sequences between the run and its next byte are masked too.
    bridge: bool,
}

/// Redacts one stream. stdout and stderr of a job need one each: woven together
/// first, they would tear each other's values apart.
pub struct Redactor {
    secrets: Secrets,
    engine: Arc<Engine>,
    version: u64,
    line_bytes_max: usize,
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
    released: usize,
    scanned: usize,
    /// Ranges found that are not (wholly) out yet.
    ranges: Vec<(usize, usize)>,
    /// The last byte put out was masked, so a range that touches it needs no
    /// second mask.
    in_mask: bool,
    /// Runs that go on, in the text as it came and without escape sequences.
    open: Vec<OpenRun>,
    open_visible: Vec<VisibleRun>,
    /// The visible text before `start`, as far as rules look back.
    visible_before: Vec<u8>,
    counts: Counts,
    /// Offset of `bytes[0]` in the stream.
    base: u64,
    /// Rules of which overlapping matches count as one, and where the last
    /// counted match ends.
    ends: Vec<(&'static str, u64)>,
}

impl Redactor {
    /// A new stream under `secrets`.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        Self::with_line_limit(secrets, LINE_BYTES_MAX)
    }

    pub(crate) fn with_line_limit(secrets: &Secrets, line_bytes_max: usize) -> Self {
        let (engine, version) = secrets.engine();
        let ends = engine.merged();
        Self {
            secrets: secrets.clone(),
            engine,
            version,
            line_bytes_max,
            bytes: Zeroizing::new(Vec::new()),
            start: 0,
            released: 0,
            scanned: 0,
            ranges: Vec::new(),
            in_mask: false,
            open: Vec::new(),
            open_visible: Vec::new(),
            visible_before: Vec::new(),
            counts: Counts::new(),
            base: 0,
            ends,
        }
    }

    /// Takes the next bytes and appends to `out` what is decided. Whole lines
    /// come out at once; the rest at the latest with the next call of
    /// [`Redactor::flush_partial`] after it can no longer become part of a secret.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.take_new_values();
        for part in input.chunks(self.line_bytes_max) {
            self.bytes.extend_from_slice(part);
            let fresh = self.bytes.len() - self.scanned;
            // What is held was scanned before; scanning it again for each byte
            // that arrives would be quadratic.
            let worth = fresh >= (self.scanned - self.start) / 4;
            let line = memrchr2(b'\n', b'\r', part).is_some();
            if fresh >= self.line_bytes_max || (worth && line) {
                self.process(false, out);
            }
        }
    }

    /// Appends what can no longer become part of a secret although its line is
    /// not finished. The output as a whole is the same with and without. Call it
    /// when nothing has come for a moment (100 ms), not after each push.
    pub fn flush_partial(&mut self, out: &mut Vec<u8>) {
        self.take_new_values();
        self.process(false, out);
    }

    /// Appends the rest: nothing more comes. The redactor is then as new, and
    /// may be used for another stream.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.take_new_values();
        self.process(true, out);
        let end = self.bytes.len() as u64;
        self.bytes.clear();
        (self.start, self.released, self.scanned) = (0, 0, 0);
        self.ranges.clear();
        self.in_mask = false;
        self.open.clear();
        self.open_visible.clear();
        self.visible_before.clear();
        self.base += end;
    }

    /// Bytes taken that are not out yet.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.len() - self.released
    }

    /// How often each rule struck since the last call. A match is counted when
    /// it is certain; overlapping values count as one.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    fn take_new_values(&mut self) {
        if self.secrets.version() != self.version {
            (self.engine, self.version) = self.secrets.engine();
        }
    }

    fn process(&mut self, eof: bool, out: &mut Vec<u8>) {
        let end = self.bytes.len();
        if self.engine.is_empty() && self.ranges.is_empty() {
            self.pass(out);
            return;
        }
        let block = Block {
            bytes: &self.bytes,
            eof,
        };
        let visible = self
            .sees_sequences()
            .then(|| Visible::new(block, self.start, &self.visible_before));
        let mut scan = self.engine.scan(block, self.start, &self.open);
        self.open = std::mem::take(&mut scan.open);
        match &visible {
            Some(visible) => self.scan_visible(visible, eof, &mut scan),
            None => {
                let bridge = true;
                let runs = self.open.iter();
                self.open_visible = runs.map(|&run| VisibleRun { run, bridge }).collect();
            }
        }

        let hold = scan.hold.unwrap_or(end).min(end);
        let mut retry = scan.retry.unwrap_or(end).min(hold);
        if let Some(visible) = &visible {
            retry = visible.not_inside_a_sequence(retry);
        }
        self.count(&mut scan.strikes, retry);
        self.ranges.append(&mut scan.ranges);
        self.put_out(hold, out);
        self.forget(retry, visible.as_ref());
        self.scanned = self.bytes.len();
    }

    /// Without anything to look for.
    fn pass(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes[self.released..]);
        self.in_mask &= self.released == self.bytes.len();
        self.base += self.bytes.len() as u64;
        self.bytes.clear();
        (self.start, self.released, self.scanned) = (0, 0, 0);
    }

    /// Whether the visible text may differ from the text as it came.
    fn sees_sequences(&self) -> bool {
        let visible = self.open_visible.iter();
        memchr(ESC, &self.bytes[self.start..]).is_some()
            || self.visible_before != self.bytes[..self.start]
            || self.open.len() != self.open_visible.len()
            || self
                .open
                .iter()
                .zip(visible)
                .any(|(a, b)| *a != b.run || !b.bridge)
    }

    fn scan_visible(&mut self, visible: &Visible, eof: bool, scan: &mut Scan) {
        let block = Block {
            bytes: &visible.bytes,
            eof,
        };
        let came_in = std::mem::take(&mut self.open_visible);
        let open: Vec<OpenRun> = came_in
            .iter()
            .map(|it| OpenRun {
                at: visible.index_at_or_after(it.run.at),
                ..it.run
            })
            .collect();
        let found = self.engine.scan(block, visible.before, &open);

        // The first ranges are those of the runs that came in.
        for (index, range) in found.ranges.into_iter().enumerate() {
            let stood = came_in
                .get(index)
                .filter(|it| it.bridge)
                .map(|it| it.run.at);
            visible.raw_ranges(range, stood, &mut scan.ranges);
        }
        scan.strikes
            .extend(found.strikes.into_iter().map(|it| Strike {
                anchor: visible.raw(it.anchor),
                end: visible.raw_end(it.end),
                ..it
            }));
        let pending = (visible.parsed < self.bytes.len()).then_some(visible.parsed);
        let holds = found.hold.map(|it| visible.raw(it));
        let retries = found.retry.map(|it| visible.raw(it));
        scan.hold = [scan.hold, holds, pending].into_iter().flatten().min();
        scan.retry = [scan.retry, retries, pending].into_iter().flatten().min();

        for run in found.open {
            let same = open
                .iter()
                .position(|it| it.run == run.run && it.at == run.at);
            let (mut at, mut bridge) = match same {
                Some(index) => (came_in[index].run.at, came_in[index].bridge),
                None => (visible.raw_end(run.at), true),
            };
            let at_end = run.at == visible.bytes.len();
            if at_end && (!bridge || visible.parsed - at > SEQUENCES_BYTES_MAX) {
                (at, bridge) = (visible.parsed, false);
            }
            if at < visible.parsed {
                scan.hold = Some(scan.hold.map_or(at, |hold| hold.min(at)));
            }
            let run = OpenRun { at, ..run };
            self.open_visible.push(VisibleRun { run, bridge });
        }
    }

    /// Counts each strike once: when its position is tried for the last time.
    fn count(&mut self, strikes: &mut Vec<Strike>, retry: usize) {
        strikes.retain(|it| it.anchor < retry);
        strikes.sort_unstable();
        strikes.dedup_by_key(|it| (it.anchor, it.end, it.rule));
        for it in strikes {
            if let Some((_, end)) = self.ends.iter_mut().find(|(rule, _)| *rule == it.rule) {
                let (from, to) = (self.base + it.anchor as u64, self.base + it.end as u64);
                let overlaps = from < *end;
                *end = to.max(*end);
                if overlaps {
                    continue;
                }
            }
            *self.counts.entry(it.rule).or_insert(0) += 1;
        }
    }

    /// Puts out what lies before `hold`, with masks for the ranges.
    fn put_out(&mut self, hold: usize, out: &mut Vec<u8>) {
        self.ranges.sort_unstable();
        let mut at = self.released;
        for &(from, to) in &self.ranges {
            if from >= hold {
                break;
            }
            if to <= at || from == to {
                continue;
            }
            if from > at {
                out.extend_from_slice(&self.bytes[at..from]);
                self.in_mask = false;
            }
            if !self.in_mask && at.max(from) < hold {
                out.extend_from_slice(MASK.as_bytes());
                self.in_mask = true;
            }
            at = to.min(hold).max(at);
        }
        if at < hold {
            out.extend_from_slice(&self.bytes[at..hold]);
            self.in_mask = false;
        }
        self.released = hold.max(self.released);
        let released = self.released;
        self.ranges.retain(|(_, to)| *to > released);
    }

    /// Drops what nobody will look at again: all before `retry` except a little
    /// to look back at.
    fn forget(&mut self, retry: usize, visible: Option<&Visible>) {
        self.visible_before = match visible {
            Some(visible) => visible.before_raw(retry).to_vec(),
            None => self.bytes[retry.saturating_sub(LOOK_BEHIND_BYTES)..retry].to_vec(),
        };
        let cut = retry.saturating_sub(LOOK_BEHIND_BYTES);
        self.bytes.drain(..cut);
        self.base += cut as u64;
        self.start = retry - cut;
        self.released -= cut;
        for (from, to) in &mut self.ranges {
            (*from, *to) = (from.saturating_sub(cut), *to - cut);
        }
        for it in &mut self.open {
            it.at -= cut;
        }
        for it in &mut self.open_visible {
            it.run.at -= cut;
        }
    }
}
