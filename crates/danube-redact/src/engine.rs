//! Scans one block for every rule and every value. Knows nothing of streams:
//! what it returns depends on the block alone. `oracle` says what it has to
//! find.

use std::ops::Range;

use crate::RULE_VALUE;
use crate::ansi::ESC;
use crate::class::{Run, RunMemo};
use crate::keywords::KEYWORDS;
use crate::matcher::{self, Block, EMAIL_LOCAL_BYTES_MAX, Outcome};
use crate::needles::NeedleSet;
use crate::prefilter::Simd;
use crate::rules::{EMAIL, Rules};
use crate::visible::At;

/// A masked run that reaches the end of a block and goes on in the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenRun {
    pub(crate) run: Run,
    /// Everything before is decided.
    pub(crate) at: usize,
    /// Ends after so many bytes at the latest.
    pub(crate) remaining: Option<usize>,
}

/// What was found in a block. Positions are those of the block.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Ranges to mask; unsorted, overlapping.
    pub(crate) ranges: Vec<(usize, usize)>,
    /// Runs that go on behind the block.
    pub(crate) open: Vec<OpenRun>,
    /// From here on bytes may still be masked by what comes.
    pub(crate) hold: Option<usize>,
    /// From here on positions have to be tried again with what comes.
    pub(crate) retry: Option<usize>,
    /// Who struck where, and to where.
    pub(crate) strikes: Vec<Strike>,
    /// Room for positions to look at more closely.
    pub(crate) candidates: Vec<usize>,
}

/// One rule that struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Strike {
    pub(crate) anchor: usize,
    pub(crate) end: usize,
    pub(crate) rule: &'static str,
}

impl Scan {
    /// Empty again, with the room it has.
    pub(crate) fn clear(&mut self) {
        self.ranges.clear();
        self.open.clear();
        self.strikes.clear();
        (self.hold, self.retry) = (None, None);
    }

    pub(crate) fn take(&mut self, rule: &'static str, anchor: usize, outcome: Outcome) {
        match outcome {
            Outcome::No => {}
            Outcome::Undecided { hold } => {
                self.hold_from(hold);
                self.retry_from(anchor.min(hold.unwrap_or(anchor)));
            }
            Outcome::Hit { from, to } => {
                self.ranges.push((from, to));
                self.strike(rule, anchor, to);
            }
            Outcome::Open {
                from,
                sure,
                run,
                remaining,
            } => {
                self.ranges.push((from, sure));
                self.open_run(OpenRun {
                    run,
                    at: sure,
                    remaining,
                });
                self.strike(rule, anchor, sure);
            }
        }
    }

    fn strike(&mut self, rule: &'static str, anchor: usize, end: usize) {
        self.strikes.push(Strike { anchor, end, rule });
    }

    /// Runs of one kind that reach the end do so together; the longest counts.
    pub(crate) fn open_run(&mut self, open: OpenRun) {
        match self.open.iter_mut().find(|it| it.run == open.run) {
            Some(known) => known.remaining = known.remaining.max(open.remaining),
            None => self.open.push(open),
        }
    }

    pub(crate) fn hold_from(&mut self, at: Option<usize>) {
        self.hold = [self.hold, at].into_iter().flatten().min();
    }

    pub(crate) fn retry_from(&mut self, at: usize) {
        self.retry = Some(self.retry.map_or(at, |it| it.min(at)));
    }
}

/// The rules and values of one moment, ready to scan.
pub(crate) struct Engine {
    simd: Simd,
    rules: Rules,
    needles: NeedleSet,
}

impl Engine {
    pub(crate) fn new(simd: Simd, rules: Rules, needles: NeedleSet) -> Self {
        Self {
            simd: simd.or_scalar(),
            rules,
            needles,
        }
    }

    /// The rules of which overlapping matches count as one.
    pub(crate) fn merged(&self) -> Vec<(&'static str, u64)> {
        let user = self.rules.user.iter().flat_map(|it| it.ids());
        user.chain([RULE_VALUE]).map(|it| (it, 0)).collect()
    }

    /// Nothing to look for.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_none() && self.needles.is_empty()
    }

    /// How bytes are looked at.
    pub(crate) fn simd(&self) -> Simd {
        self.simd
    }

    /// Tries every position from `start` on; what stands before is context.
    /// `open` are the runs that came in from the block before: what they mask
    /// comes first among the ranges. Adds to `scan`.
    pub(crate) fn scan(&self, block: Block<'_>, start: usize, open: &[OpenRun], scan: &mut Scan) {
        let mut memo = RunMemo::new();
        for it in open {
            resume(*it, block, &mut memo, scan);
        }
        if self.rules.builtin {
            KEYWORDS.find(self.simd, (block, start), &mut memo, scan);
        }
        if self.rules.email {
            emails(block, start, &mut memo, scan);
        }
        if let Some(user) = &self.rules.user {
            user.find(self.simd, (block, start), &mut memo, scan);
        }
        self.values(block, start, scan);
        hold_unsure(block, scan);
    }

    /// Tries the positions inside `sequences` (escape sequences of the text as it
    /// came) but for the `ESC` itself: what begins there is not in the visible
    /// text. Values that hold an `ESC` are not either. Adds to `scan`.
    pub(crate) fn scan_sequences(
        &self,
        (block, start): (Block<'_>, usize),
        sequences: &[At],
        open: &[OpenRun],
        scan: &mut Scan,
    ) {
        let mut memo = RunMemo::new();
        for it in open {
            resume(*it, block, &mut memo, scan);
        }
        let no_keyword = !(self.rules.builtin && KEYWORDS.any_in_colour());
        for &At { from, to, colour } in sequences {
            if colour && no_keyword {
                self.needles.find_in_colour(block, (from, to), scan);
            } else {
                self.scan_sequence(block, from + 1..to, &mut memo, scan);
            }
        }
        if self.needles.any_with_escape() {
            self.values(block, start, scan);
        }
        hold_unsure(block, scan);
    }

    fn values(&self, block: Block<'_>, start: usize, scan: &mut Scan) {
        self.needles.find(self.simd, block.bytes, start, scan);
        if !block.eof
            && let Some(at) = self.needles.first_unfinished(block.bytes, start)
        {
            scan.hold_from(Some(at));
            scan.retry_from(at);
        }
    }

    fn scan_sequence(
        &self,
        block: Block<'_>,
        inside: Range<usize>,
        memo: &mut RunMemo,
        scan: &mut Scan,
    ) {
        if self.rules.builtin {
            KEYWORDS.find_among(inside.clone(), block, memo, scan);
        }
        if self.rules.email {
            for at in inside.clone().filter(|at| block.bytes[*at] == b'@') {
                let outcome = matcher::email_at(block, at, memo);
                scan.take(EMAIL, at, outcome);
            }
        }
        if !self.needles.is_empty() {
            for at in inside {
                self.needles.find_at(block, at, scan);
            }
        }
    }

    /// Whether something may be found in `bytes` or in any part of them: every rule
    /// needs its keyword, an address its `@`, a value itself, and whoever looks into
    /// escape sequences one of those. `room` is room to work in.
    pub(crate) fn may_hold(&self, bytes: &[u8], room: &mut Scan) -> bool {
        if memchr::memchr(ESC, bytes).is_some()
            || (self.rules.email && memchr::memchr(b'@', bytes).is_some())
        {
            return true;
        }
        let candidates = &mut room.candidates;
        if self.rules.builtin && KEYWORDS.any(self.simd, bytes, candidates) {
            return true;
        }
        if let Some(user) = &self.rules.user
            && user.any(self.simd, bytes, candidates)
        {
            return true;
        }
        room.clear();
        self.needles.find(self.simd, bytes, 0, room);
        !room.ranges.is_empty()
    }

    /// The longest form of a value.
    pub(crate) fn needle_bytes_max(&self) -> usize {
        self.needles.len_max()
    }
}

/// What is not sure yet must come again.
fn hold_unsure(block: Block<'_>, scan: &mut Scan) {
    let unsure = scan.open.iter().map(|it| it.at).min();
    scan.hold_from(unsure.filter(|it| *it < block.bytes.len()));
}

impl Scan {
    /// Takes a value that stands at a range.
    pub(crate) fn value(&mut self, from: usize, to: usize) {
        self.ranges.push((from, to));
        self.strike(RULE_VALUE, from, to);
    }
}

/// Carries a run on from where the block before left it.
fn resume(open: OpenRun, block: Block<'_>, memo: &mut RunMemo, scan: &mut Scan) {
    let found = memo.run_end(open.run, block.bytes, open.at, block.eof);
    let limit = open.remaining.map_or(usize::MAX, |it| open.at + it);
    if found.sure >= limit {
        scan.ranges.push((open.at, limit));
    } else if found.end < block.bytes.len() || block.eof {
        scan.ranges.push((open.at, found.end.min(limit)));
    } else {
        scan.ranges.push((open.at, found.sure));
        scan.open_run(OpenRun {
            at: found.sure,
            remaining: open.remaining.map(|it| it - (found.sure - open.at)),
            ..open
        });
    }
}

fn emails(block: Block<'_>, start: usize, memo: &mut RunMemo, scan: &mut Scan) {
    let bytes = block.bytes;
    for at in memchr::memchr_iter(b'@', &bytes[start..]) {
        let outcome = matcher::email_at(block, start + at, memo);
        scan.take(EMAIL, start + at, outcome);
    }
    if block.eof {
        return;
    }
    let local = bytes[start..]
        .iter()
        .rev()
        .take(EMAIL_LOCAL_BYTES_MAX)
        .take_while(|b| Run::EmailLocal.holds(**b))
        .count();
    if local > 0 {
        let at = bytes.len() - local;
        scan.hold_from(Some(at));
        scan.retry_from(at);
    }
}
