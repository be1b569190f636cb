//! Cells: the numbers themselves. Recording is a relaxed atomic or two: it never
//! waits, never allocates and never fails.
//!
//! Relaxed is enough. All changes of one atomic have one order, and whoever read one of
//! them never reads an earlier one after it; a scrape happens after the scrape before
//! it, because a lock or a channel lies between them. So no counter goes backwards.
//! Nothing orders two cells: a scrape may see a job that ended and not its time.

use std::ops::Deref;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::decl::{BUCKETS_MAX, FamilyDecl, Kind, Start};
use super::exemplar::{Exemplar, Slot};
use crate::context::TraceContext;
use crate::current::current;

/// One reading of a cell.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a reading lives on the stack while it is written; a box would be an allocation each"
)]
pub enum Sample<'a> {
    /// Whole counter.
    Counter(u64),
    /// Counter of a continuous quantity.
    FloatCounter(f64),
    /// Whole gauge.
    Gauge(i64),
    /// Gauge of a continuous quantity.
    FloatGauge(f64),
    /// Histogram.
    Histogram(HistogramSample<'a>),
}

/// One reading of a histogram. The count is the last cumulative one, so count and
/// buckets can't disagree.
#[derive(Debug, Clone)]
pub struct HistogramSample<'a> {
    /// Upper bounds without `+Inf`.
    pub bounds: &'a [f64],
    /// Cumulative counts, one more than bounds: the last is for `+Inf`.
    pub cumulative: Cumulative,
    /// Sum of all observations, in the family's unit.
    pub sum: f64,
    slots: &'a [Slot],
}

impl PartialEq for HistogramSample<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bounds == other.bounds
            && *self.cumulative == *other.cumulative
            && self.sum.to_bits() == other.sum.to_bits()
    }
}

impl<'a> HistogramSample<'a> {
    /// A histogram that has seen nothing.
    pub(super) fn empty(bounds: &'a [f64]) -> Self {
        Self {
            bounds,
            cumulative: Cumulative::new(bounds.len() + 1),
            sum: 0.0,
            slots: &[],
        }
    }

    /// How many observations there are.
    pub fn count(&self) -> u64 {
        self.cumulative.last().copied().unwrap_or_default()
    }

    /// The last traced observation in the bucket of this index, where there is one.
    pub fn exemplar(&self, bucket: usize) -> Option<Exemplar> {
        self.slots.get(bucket)?.get()
    }
}

/// Cumulative counts of a histogram's buckets, without an allocation. Derefs to a slice.
#[derive(Debug, Clone, Copy)]
pub struct Cumulative {
    counts: [u64; BUCKETS_MAX + 1],
    len: usize,
}

impl Cumulative {
    fn new(len: usize) -> Self {
        Self {
            counts: [0; BUCKETS_MAX + 1],
            len,
        }
    }
}

impl Deref for Cumulative {
    type Target = [u64];
    fn deref(&self) -> &[u64] {
        &self.counts[..self.len]
    }
}

/// A kind of cell that a family may hold.
pub trait Cell: Send + Sync + Sized + 'static {
    /// Makes a cell for a family.
    fn new(decl: &'static FamilyDecl) -> Self;
    /// Whether a family of this kind may hold such cells.
    fn fits(kind: Kind) -> bool;
    /// Reads it; `None` while it isn't exported.
    fn sample(&self) -> Option<Sample<'_>>;
}

/// Counter of whole things.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Shows a total that is kept elsewhere; a lower one is ignored.
    pub fn mirror(&self, total: u64) {
        self.0.fetch_max(total, Relaxed);
    }

    /// Reads it.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Cell for Counter {
    fn new(_: &'static FamilyDecl) -> Self {
        Self::default()
    }
    fn fits(kind: Kind) -> bool {
        kind == Kind::Counter
    }
    fn sample(&self) -> Option<Sample<'_>> {
        Some(Sample::Counter(self.get()))
    }
}

const NANOS: f64 = 1e9;

/// Counter of seconds, kept as whole nanoseconds so that adding is one atomic.
/// Wraps after 584 years of summed time.
#[derive(Debug, Default)]
pub struct FloatCounter(AtomicU64);

impl FloatCounter {
    /// Adds seconds; negative and non-finite ones are ignored.
    pub fn add(&self, seconds: f64) {
        self.0.fetch_add(scaled(seconds, NANOS), Relaxed);
    }

    /// Adds a time.
    pub fn add_duration(&self, time: Duration) {
        self.0.fetch_add(nanos(time), Relaxed);
    }

    /// Shows a total that is kept elsewhere; a lower one is ignored.
    pub fn mirror(&self, seconds: f64) {
        self.0.fetch_max(scaled(seconds, NANOS), Relaxed);
    }

    /// Reads it, in seconds.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a sum of seconds needs no more than 53 bits"
    )]
    pub fn get(&self) -> f64 {
        self.0.load(Relaxed) as f64 / NANOS
    }
}

impl Cell for FloatCounter {
    fn new(_: &'static FamilyDecl) -> Self {
        Self::default()
    }
    fn fits(kind: Kind) -> bool {
        kind == Kind::Counter
    }
    fn sample(&self) -> Option<Sample<'_>> {
        Some(Sample::FloatCounter(self.get()))
    }
}

/// A whole gauge that was not set yet, in a family that starts when set.
const UNSET: i64 = i64::MIN;

/// Gauge of whole things.
#[derive(Debug)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// Sets it from an unsigned size; one past `i64::MAX` shows as that.
    pub fn set_u64(&self, value: u64) {
        self.set(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Takes one away.
    pub fn dec(&self) {
        self.add(-1);
    }

    /// Adds `n`, which may be negative. For gauges that start at 0.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Takes it out of the exposition until it is set again.
    pub fn clear(&self) {
        self.set(UNSET);
    }

    /// Reads it; 0 while it isn't set.
    pub fn get(&self) -> i64 {
        match self.0.load(Relaxed) {
            UNSET => 0,
            value => value,
        }
    }
}

impl Cell for Gauge {
    fn new(decl: &'static FamilyDecl) -> Self {
        Self(AtomicI64::new(if decl.start == Start::WhenSet {
            UNSET
        } else {
            0
        }))
    }
    fn fits(kind: Kind) -> bool {
        matches!(kind, Kind::Gauge | Kind::Info)
    }
    fn sample(&self) -> Option<Sample<'_>> {
        let value = self.0.load(Relaxed);
        (value != UNSET).then_some(Sample::Gauge(value))
    }
}

/// A NaN that no arithmetic makes: the gauge isn't set.
const UNSET_BITS: u64 = u64::MAX;

/// Gauge of a continuous quantity.
#[derive(Debug)]
pub struct FloatGauge(AtomicU64);

impl FloatGauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }

    /// Takes it out of the exposition until it is set again.
    pub fn clear(&self) {
        self.0.store(UNSET_BITS, Relaxed);
    }

    /// Reads it; NaN while it isn't set.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }
}

impl Cell for FloatGauge {
    fn new(decl: &'static FamilyDecl) -> Self {
        Self(AtomicU64::new(if decl.start == Start::WhenSet {
            UNSET_BITS
        } else {
            0
        }))
    }
    fn fits(kind: Kind) -> bool {
        matches!(kind, Kind::Gauge | Kind::Info)
    }
    fn sample(&self) -> Option<Sample<'_>> {
        let bits = self.0.load(Relaxed);
        (bits != UNSET_BITS).then(|| Sample::FloatGauge(f64::from_bits(bits)))
    }
}

/// Scale of a sum that isn't in seconds (bytes): thousandths reach 1.8e16.
const MILLIS: f64 = 1e3;

/// Histogram with constant bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than bounds: the last counts what is above all of them.
    buckets: Box<[AtomicU64]>,
    /// As many.
    exemplars: Box<[Slot]>,
    sum: AtomicU64,
    scale: f64,
}

impl Histogram {
    /// Counts one observation, in the family's unit. Negative ones count as 0;
    /// NaN is ignored.
    pub fn observe(&self, value: f64) {
        self.observe_in(value, None);
    }

    /// Like [`Self::observe`], made in this trace: it becomes the bucket's exemplar
    /// where the trace is recorded.
    // Two atomics are shorter than a call across crates is worth.
    #[inline]
    pub fn observe_in(&self, value: f64, trace: Option<&TraceContext>) {
        // Neither adds to the sum, and NaN to nothing.
        if !value.is_finite() {
            return self.observe_odd(value);
        }
        let amount = rounded(value * self.scale);
        let at = above(self.bounds, value);
        self.buckets[at].fetch_add(1, Relaxed);
        self.sum.fetch_add(amount, Relaxed);
        if let Some(trace) = trace {
            self.exemplars[at].put(value, trace);
        }
    }

    #[cold]
    fn observe_odd(&self, value: f64) {
        if !value.is_nan() {
            self.buckets[above(self.bounds, value)].fetch_add(1, Relaxed);
        }
    }

    /// Counts one time, taken in the trace that this thread works in.
    pub fn observe_duration(&self, time: Duration) {
        self.observe_in(time.as_secs_f64(), current().as_ref());
    }

    /// Counts one time, taken in this trace.
    pub fn observe_duration_in(&self, time: Duration, trace: Option<&TraceContext>) {
        self.observe_in(time.as_secs_f64(), trace);
    }

    /// How many observations there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }
}

impl Cell for Histogram {
    fn new(decl: &'static FamilyDecl) -> Self {
        let buckets = 0..=decl.buckets.len();
        let scale = if decl.unit == "s" { NANOS } else { MILLIS };
        Self {
            bounds: decl.buckets,
            exemplars: buckets.clone().map(|_| Slot::default()).collect(),
            buckets: buckets.map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
            scale,
        }
    }
    fn fits(kind: Kind) -> bool {
        kind == Kind::Histogram
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a sum needs no more than 53 bits"
    )]
    fn sample(&self) -> Option<Sample<'_>> {
        let mut sample = HistogramSample {
            slots: &self.exemplars,
            ..HistogramSample::empty(self.bounds)
        };
        // The count is the sum of what is read here, so it can't disagree with the
        // buckets, and each bucket only grows. The sum may hold an observation more or
        // less than they do: those that others are making just now.
        let mut total = 0;
        let counts = &mut sample.cumulative.counts;
        for (count, bucket) in counts.iter_mut().zip(&self.buckets) {
            total += bucket.load(Relaxed);
            *count = total;
        }
        sample.sum = self.sum.load(Relaxed) as f64 / self.scale;
        Some(Sample::Histogram(sample))
    }
}

/// How many bounds lie below the value. Halving has no branch that can't be foretold,
/// and comparing with all of them is turned into twice the work by the compiler.
fn above(bounds: &[f64], value: f64) -> usize {
    bounds.partition_point(|bound| *bound < value)
}

/// `value * scale` as a whole number; what is negative or not finite is 0.
fn scaled(value: f64, scale: f64) -> u64 {
    if value.is_finite() {
        rounded(value * scale)
    } else {
        0
    }
}

/// The next whole number, or the one after it at a half; what is negative is 0. Adding a
/// half is an instruction where `round` is a call, and by way of `i64` the cast is short.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and what is negative was made 0"
)]
fn rounded(value: f64) -> u64 {
    ((value + 0.5) as i64).max(0) as u64
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
