//! Redacts a stream: keeps what is not decided yet, scans the text as it came
//! and once more without escape sequences, and puts out the union.
//!
//! `bytes` holds, in this order: context that is out already but may be looked
//! back at; bytes whose positions have to be tried again (`start` on), of which
//! those before `released` are out; and bytes not scanned yet (`scanned` on).

use std::sync::Arc;

use memchr::memchr;
use zeroize::Zeroizing;

use crate::ansi::ESC;
use crate::engine::{Engine, OpenRun, Scan, Strike};
use crate::matcher::{Block, LOOK_BEHIND_BYTES};
use crate::visible::Visible;
use crate::wiped::reserve_wiped;
use crate::{Counts, MASK, Secrets};

/// Bytes that are scanned together: few enough for the second cache of a core with
/// what is made of them. The output does not depend on it.
const BLOCK_BYTES: usize = 64 * 1024;

/// Bytes that arrive in small pieces are scanned once this part of a block has
/// come (or when they are asked for): a scan has a price of its own.
const SCANS_A_BLOCK: usize = 2;

/// Where held bytes go on in a new piece, so much of it is scanned with them.
const JOINT_BYTES: usize = if cfg!(any(test, fuzzing)) { 24 } else { 512 };

/// Escape sequences between two masked characters are masked with them up to
/// this many bytes; more of them pass, or their end would have to be awaited.
pub(crate) const SEQUENCES_BYTES_MAX: usize = if cfg!(any(test, fuzzing)) { 12 } else { 1024 };

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
    block_bytes: usize,
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
    released: usize,
    scanned: usize,
    /// Ranges found that are not (wholly) out yet.
    ranges: Vec<(usize, usize)>,
    /// The last byte put out was masked, so a range that touches it needs no
    /// second mask.
    in_mask: bool,
    /// Runs that go on in the visible text.
    open: Vec<VisibleRun>,
    /// Runs that go on in the text as it came: they began inside a sequence.
    open_raw: Vec<OpenRun>,
    /// The visible text before `start`, as far as rules look back, if it isn't
    /// the text as it came.
    visible_before: Option<Vec<u8>>,
    visible: Visible,
    scan: Scan,
    scan_visible: Scan,
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
        Self::with_block(secrets, BLOCK_BYTES)
    }

    pub(crate) fn with_block(secrets: &Secrets, block_bytes: usize) -> Self {
        let (engine, version) = secrets.engine();
        let ends = engine.merged();
        Self {
            secrets: secrets.clone(),
            engine,
            version,
            block_bytes,
            bytes: Zeroizing::new(Vec::new()),
            start: 0,
            released: 0,
            scanned: 0,
            ranges: Vec::new(),
            in_mask: false,
            open: Vec::new(),
            open_raw: Vec::new(),
            visible_before: None,
            visible: Visible::default(),
            scan: Scan::default(),
            scan_visible: Scan::default(),
            counts: Counts::new(),
            base: 0,
            ends,
        }
    }

    /// Takes the next bytes and appends to `out` what is decided. Bytes may wait
    /// for more of them, up to 32 KiB; [`Redactor::flush_partial`] puts them out.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.take_new_values();
        let fresh = self.bytes.len() - self.scanned + input.len();
        // What is held was scanned before; scanning it again for each byte that
        // arrives would be quadratic.
        if fresh < (self.block_bytes / SCANS_A_BLOCK).max((self.scanned - self.start) / 4) {
            self.keep(input);
        } else {
            self.process_with(input, out);
        }
    }

    /// Scans what is held and `input`; most of `input` where it lies, so that it
    /// isn't copied twice.
    fn process_with(&mut self, input: &[u8], out: &mut Vec<u8>) {
        // What is still held is the end of what was scanned, from here on.
        let mut held = 0;
        let mut scanned = 0;
        while !self.bytes.is_empty() {
            let joint = (input.len() - scanned).min(JOINT_BYTES.max(self.bytes.len() / 4));
            self.keep(&input[scanned..scanned + joint]);
            scanned += joint;
            self.process_kept(false, out);
            if scanned == input.len() {
                return;
            }
            // All that is held stands in `input` too, unless it is longer.
            if let Some(begin) = scanned.checked_sub(self.bytes.len()) {
                held = begin;
                break;
            }
        }
        while scanned < input.len() {
            let fresh = self.block_bytes.max((scanned - held) / 4);
            scanned = input.len().min(scanned + fresh);
            held += self.process(&input[held..scanned], false, out);
        }
        self.bytes.clear();
        self.keep(&input[held..]);
        self.scanned = self.bytes.len();
    }

    fn process_kept(&mut self, eof: bool, out: &mut Vec<u8>) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let cut = self.process(&bytes, eof, out);
        bytes.drain(..cut);
        self.scanned = bytes.len();
        self.bytes = bytes;
    }

    fn keep(&mut self, bytes: &[u8]) {
        reserve_wiped(&mut self.bytes, bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends all that can no longer become part of a secret, whether its line is
    /// finished or not. The output as a whole is the same with and without. Call
    /// it when somebody waits for the output, not after each push.
    pub fn flush_partial(&mut self, out: &mut Vec<u8>) {
        self.take_new_values();
        self.process_kept(false, out);
    }

    /// Appends the rest: nothing more comes. The redactor is then as new, and
    /// may be used for another stream.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.take_new_values();
        self.process_kept(true, out);
        let end = self.bytes.len() as u64;
        self.bytes.clear();
        (self.start, self.released, self.scanned) = (0, 0, 0);
        self.ranges.clear();
        self.in_mask = false;
        self.open.clear();
        self.open_raw.clear();
        self.visible_before = None;
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

    /// Scans `bytes` from `start` on and puts out what is decided. Returns how many
    /// of them nobody will look at again; positions are without them then.
    fn process(&mut self, bytes: &[u8], eof: bool, out: &mut Vec<u8>) -> usize {
        let end = bytes.len();
        if self.engine.is_empty() && self.ranges.is_empty() {
            return self.pass(bytes, out);
        }
        let mut scan = std::mem::take(&mut self.scan);
        scan.clear();
        let sequences = self.sees_sequences(bytes);
        if sequences {
            self.scan_apart(Block { bytes, eof }, &mut scan);
        } else {
            self.scan_plain(Block { bytes, eof }, &mut scan);
        }

        let hold = scan.hold.unwrap_or(end).min(end);
        let mut retry = scan.retry.unwrap_or(end).min(hold);
        if sequences {
            retry = self.visible.not_inside_a_sequence(retry);
        }
        self.count(&mut scan.strikes, retry);
        self.ranges.append(&mut scan.ranges);
        self.scan = scan;
        self.put_out(bytes, hold, out);
        self.forget(bytes, retry, sequences)
    }

    /// Without anything to look for.
    fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        out.extend_from_slice(&bytes[self.released..]);
        self.in_mask &= self.released == bytes.len();
        self.base += bytes.len() as u64;
        (self.start, self.released) = (0, 0);
        bytes.len()
    }

    /// Whether the visible text may differ from the text as it came.
    fn sees_sequences(&self, bytes: &[u8]) -> bool {
        self.visible_before.is_some()
            || self.open.iter().any(|it| !it.bridge)
            || memchr(ESC, &bytes[self.start..]).is_some()
    }

    /// Scans a text that is all visible.
    fn scan_plain(&mut self, block: Block<'_>, scan: &mut Scan) {
        let open: Vec<OpenRun> = self.open.iter().map(|it| it.run).collect();
        self.engine.scan(block, self.start, &open, scan);
        let bridge = true;
        self.open.clear();
        let runs = scan.open.drain(..);
        self.open.extend(runs.map(|run| VisibleRun { run, bridge }));
        if !self.open_raw.is_empty() {
            let open = std::mem::take(&mut self.open_raw);
            self.engine
                .scan_sequences((block, self.start), &[], &open, scan);
            self.open_raw.append(&mut scan.open);
        }
    }

    /// Scans the text as it came where sequences stand, and the visible text.
    fn scan_apart(&mut self, block: Block<'_>, scan: &mut Scan) {
        let mut visible = std::mem::take(&mut self.visible);
        let context = self.start.saturating_sub(LOOK_BEHIND_BYTES)..self.start;
        let before = self.visible_before.as_deref();
        let before = before.unwrap_or(&block.bytes[context]);
        visible.fill(self.engine.simd(), block, self.start, before);
        let open = std::mem::take(&mut self.open_raw);
        self.engine
            .scan_sequences((block, self.start), &visible.sequences, &open, scan);
        self.open_raw.append(&mut scan.open);
        self.scan_visible(&visible, block, scan);
        self.visible = visible;
    }

    fn scan_visible(&mut self, visible: &Visible, raw: Block<'_>, scan: &mut Scan) {
        let block = Block {
            bytes: &visible.bytes,
            eof: raw.eof,
        };
        let came_in = std::mem::take(&mut self.open);
        let open: Vec<OpenRun> = came_in
            .iter()
            .map(|it| OpenRun {
                at: visible.index_at_or_after(it.run.at),
                ..it.run
            })
            .collect();
        let mut found = std::mem::take(&mut self.scan_visible);
        found.clear();
        self.engine.scan(block, visible.before, &open, &mut found);

        // The first ranges are those of the runs that came in.
        for (index, range) in found.ranges.drain(..).enumerate() {
            let stood = came_in
                .get(index)
                .filter(|it| it.bridge)
                .map(|it| it.run.at);
            visible.raw_ranges(range, stood, &mut scan.ranges);
        }
        scan.strikes
            .extend(found.strikes.drain(..).map(|it| Strike {
                anchor: visible.raw(it.anchor),
                end: visible.raw_end(it.end),
                ..it
            }));
        let pending = (visible.parsed < raw.bytes.len()).then_some(visible.parsed);
        let holds = found.hold.map(|it| visible.raw(it));
        let retries = found.retry.map(|it| visible.raw(it));
        scan.hold = [scan.hold, holds, pending].into_iter().flatten().min();
        scan.retry = [scan.retry, retries, pending].into_iter().flatten().min();

        for run in found.open.drain(..) {
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
            self.open.push(VisibleRun { run, bridge });
        }
        self.scan_visible = found;
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
    fn put_out(&mut self, bytes: &[u8], hold: usize, out: &mut Vec<u8>) {
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
                out.extend_from_slice(&bytes[at..from]);
                self.in_mask = false;
            }
            if !self.in_mask && at.max(from) < hold {
                out.extend_from_slice(MASK.as_bytes());
                self.in_mask = true;
            }
            at = to.min(hold).max(at);
        }
        if at < hold {
            out.extend_from_slice(&bytes[at..hold]);
            self.in_mask = false;
        }
        self.released = hold.max(self.released);
        let released = self.released;
        self.ranges.retain(|(_, to)| *to > released);
    }

    /// Drops what nobody will look at again: all before `retry` except a little
    /// to look back at. `apart`: the visible text was another.
    fn forget(&mut self, bytes: &[u8], retry: usize, apart: bool) -> usize {
        let cut = retry.saturating_sub(LOOK_BEHIND_BYTES);
        self.visible_before = if apart {
            let visible = self.visible.before_raw(retry);
            (visible != &bytes[cut..retry]).then(|| visible.to_vec())
        } else {
            None
        };
        self.base += cut as u64;
        self.start = retry - cut;
        self.released -= cut;
        for (from, to) in &mut self.ranges {
            (*from, *to) = (from.saturating_sub(cut), *to - cut);
        }
        for it in &mut self.open {
            it.run.at -= cut;
        }
        for it in &mut self.open_raw {
            it.at -= cut;
        }
        cut
    }
}
