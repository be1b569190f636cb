//! Families with labels that take values from outside: interned and capped, and looked
//! up without a lock.

use std::hash::{BuildHasher, Hash as _, Hasher as _};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use foldhash::fast::RandomState;

use super::cell::Cell;
use super::decl::{FamilyDecl, LabelValues};
use super::exemplar::now_unix_nanos;
use super::family::{Collect, Context, Family, SeriesRef, SeriesRoom, check, head_into};
use super::label::{ClosedKey, OTHER, cut};

/// Most cells that are made at once: some pages of counters.
const CHUNK_CELLS_MAX: usize = 256;

/// Where the cells of one series are. Many series share a chunk, so that a scrape of
/// thousands doesn't look for each one's memory.
struct Place<C> {
    chunk: Arc<[C]>,
    start: usize,
}

impl<C> Place<C> {
    fn cell(&self, at: usize) -> &C {
        &self.chunk[self.start + at]
    }
}

impl<C> Clone for Place<C> {
    fn clone(&self) -> Self {
        Self {
            chunk: Arc::clone(&self.chunk),
            ..*self
        }
    }
}

/// The chunk that the next series is taken from.
struct Spare<C>(Place<C>);

impl<C: Cell> Spare<C> {
    /// Cells for one more series, after `known` others: each chunk is as large as what
    /// is in use, so that a family of a few histograms holds few that nobody needs.
    fn take(&mut self, cells_each: usize, known: usize, decl: &'static FamilyDecl) -> Place<C> {
        if self.0.start == self.0.chunk.len() {
            let series = known.clamp(1, (CHUNK_CELLS_MAX / cells_each).max(1));
            self.0 = Place {
                chunk: (0..series * cells_each).map(|_| C::new(decl)).collect(),
                start: 0,
            };
        }
        let place = self.0.clone();
        self.0.start += cells_each;
        place
    }
}

/// One set of open values and its cells.
struct Entry<const N: usize, C> {
    hash: u64,
    /// The values one after the other, and where each ends.
    text: Arc<str>,
    ends: [usize; N],
    place: Place<C>,
    start_unix_nanos: u64,
}

impl<const N: usize, C> Clone for Entry<N, C> {
    fn clone(&self) -> Self {
        Self {
            text: Arc::clone(&self.text),
            place: self.place.clone(),
            ..*self
        }
    }
}

impl<const N: usize, C> Entry<N, C> {
    fn values(&self) -> [&str; N] {
        let mut start = 0;
        self.ends.map(|end| {
            let value = &self.text[start..end];
            start = end;
            value
        })
    }
}

/// All entries at one time. It never changes: one with one entry more takes its place,
/// so that a look-up needs no lock. Who looks into an old one misses the newest entry at
/// worst, and then asks again with the lock held; entries are never taken out.
struct Snapshot<const N: usize, C> {
    /// Sorted by values: readers see a fixed order.
    entries: Vec<Entry<N, C>>,
    /// Finds an entry by its hash: 1 + its index, or 0. A power of two long, and at
    /// least half of it is empty, so that a search ends.
    table: Box<[u32]>,
}

impl<const N: usize, C> Snapshot<N, C> {
    fn of(entries: Vec<Entry<N, C>>) -> Self {
        let len = (entries.len() * 2 + 1).next_power_of_two();
        let mut table = vec![0; len].into_boxed_slice();
        for (number, entry) in (1..).zip(&entries) {
            let mut at = slot(entry.hash, len);
            while table[at] != 0 {
                at = (at + 1) & (len - 1);
            }
            table[at] = number;
        }
        Self { entries, table }
    }

    fn find(&self, hash: u64, values: &[&str; N]) -> Option<&Entry<N, C>> {
        let len = self.table.len();
        let mut at = slot(hash, len);
        loop {
            let number = self.table[at] as usize;
            let entry = &self.entries[number.checked_sub(1)?];
            if entry.hash == hash && entry.values() == *values {
                return Some(entry);
            }
            at = (at + 1) & (len - 1);
        }
    }

    /// With one more, in its place.
    fn with(&self, new: Entry<N, C>) -> Self {
        let values = new.values();
        let at = self.entries.partition_point(|it| it.values() < values);
        let mut entries = Vec::with_capacity(self.entries.len() + 1);
        entries.extend_from_slice(&self.entries[..at]);
        entries.push(new);
        entries.extend_from_slice(&self.entries[at..]);
        Self::of(entries)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low bits of a hash are as good as all of them"
)]
fn slot(hash: u64, table_len: usize) -> usize {
    hash as usize & (table_len - 1)
}

/// What readers are shown of a snapshot: all heads in one piece, written once, so that a
/// scrape reads memory from front to back.
struct Rendered<const N: usize, C> {
    of: Arc<Snapshot<N, C>>,
    text: String,
    /// Where each cell's head ends.
    ends: Vec<usize>,
}

struct OpenInner<const N: usize, C> {
    decl: &'static FamilyDecl,
    cells_each: usize,
    series_max: usize,
    room: SeriesRoom,
    /// Seeded by chance: who sends names can't choose where they fall.
    hasher: RandomState,
    series: ArcSwap<Snapshot<N, C>>,
    /// Held by who makes a series.
    making: Mutex<Spare<C>>,
    /// Of the snapshot that was read last.
    rendered: ArcSwapOption<Rendered<N, C>>,
    overflow: AtomicU64,
}

/// A family with `N` open labels and the closed ones of `K`.
pub struct Open<const N: usize, K, C>(Arc<OpenInner<N, C>>, PhantomData<K>);

impl<const N: usize, K, C> Clone for Open<N, K, C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

impl<const N: usize, K: ClosedKey, C: Cell> Open<N, K, C> {
    /// The cells of these open values, in label order, to keep where they are used often.
    pub fn with(&self, values: [&str; N]) -> Handle<K, C> {
        let place = self.0.place(values, Place::clone);
        Handle(place, PhantomData)
    }

    /// Records in the cell of these values, looked up without a lock and without an
    /// allocation.
    pub fn record<T>(&self, values: [&str; N], key: K, record: impl FnOnce(&C) -> T) -> T {
        self.0.place(values, |place| record(place.cell(key.cell())))
    }
}

impl<const N: usize, C: Cell> OpenInner<N, C> {
    fn place<T>(&self, values: [&str; N], act: impl FnOnce(&Place<C>) -> T) -> T {
        let values = values.map(cut);
        let series = self.series.load();
        match series.find(self.hash(&values), &values) {
            Some(entry) => act(&entry.place),
            None => act(&self.place_of_new(values, &series)),
        }
    }

    fn hash(&self, values: &[&str; N]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for value in values {
            value.hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Where there is no room, no lock is taken either: a flood of new values must not
    /// make those wait that are there.
    fn place_of_new(&self, values: [&str; N], series: &Snapshot<N, C>) -> Place<C> {
        if series.entries.len() >= self.series_max || !self.room.has(self.cells_each) {
            let stand_in = self.stand_in(values, series);
            if let Some(entry) = series.find(self.hash(&stand_in), &stand_in) {
                self.overflow.fetch_add(1, Relaxed);
                return entry.place.clone();
            }
        }
        self.make(values)
    }

    /// What is recorded in place of values that there is no room for. The few sparse
    /// values stay, so that splits by them remain right; twice the cap is the end in any
    /// case.
    fn stand_in<'a>(&self, mut values: [&'a str; N], series: &Snapshot<N, C>) -> [&'a str; N] {
        let all = series.entries.len() >= self.series_max.saturating_mul(2);
        let open = self.decl.labels().iter().filter(|it| !closed(it.values));
        for (value, label) in values.iter_mut().zip(open) {
            if all || label.values != LabelValues::Sparse {
                *value = OTHER;
            }
        }
        values
    }

    /// Makes the series, or finds the one that takes its place when there is no room.
    fn make(&self, mut values: [&str; N]) -> Place<C> {
        let mut spare = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let series = self.series.load_full();
        let mut hash = self.hash(&values);
        let mut known = series.find(hash, &values);
        let is_full = || series.entries.len() >= self.series_max;
        if known.is_none() && (is_full() || !self.room.take(self.cells_each)) {
            self.overflow.fetch_add(1, Relaxed);
            values = self.stand_in(values, &series);
            hash = self.hash(&values);
            known = series.find(hash, &values);
        }
        if let Some(entry) = known {
            return entry.place.clone();
        }
        let place = spare.take(self.cells_each, series.entries.len(), self.decl);
        let mut end = 0;
        let new = Entry {
            hash,
            text: values.concat().into(),
            ends: values.map(|it| {
                end += it.len();
                end
            }),
            place: place.clone(),
            start_unix_nanos: now_unix_nanos(),
        };
        self.series.store(Arc::new(series.with(new)));
        place
    }

    /// The heads of the present series; written anew only when there is a new one.
    fn rendered(&self) -> Arc<Rendered<N, C>> {
        let of = self.series.load_full();
        if let Some(rendered) = self.rendered.load_full()
            && Arc::ptr_eq(&rendered.of, &of)
        {
            return rendered;
        }
        let mut text = String::new();
        let mut ends = Vec::with_capacity(of.entries.len() * self.cells_each);
        for entry in &of.entries {
            for cell in 0..self.cells_each {
                head_into(self.decl, &entry.values(), cell, &mut text);
                ends.push(text.len());
            }
        }
        text.shrink_to_fit();
        let rendered = Arc::new(Rendered { of, text, ends });
        // Two readers at once may both write it; either one will do.
        self.rendered.store(Some(Arc::clone(&rendered)));
        rendered
    }
}

fn closed(values: LabelValues) -> bool {
    matches!(values, LabelValues::Closed(_))
}

impl<const N: usize, C: Cell> Collect for OpenInner<N, C> {
    fn decl(&self) -> &'static FamilyDecl {
        self.decl
    }
    fn visit(&self, each: &mut dyn FnMut(SeriesRef<'_>)) {
        let rendered = self.rendered();
        let mut ends = rendered.ends.iter();
        let mut start = 0;
        for entry in &rendered.of.entries {
            let cells = &entry.place.chunk[entry.place.start..][..self.cells_each];
            for (cell, end) in cells.iter().zip(&mut ends) {
                let head = &rendered.text[start..*end];
                start = *end;
                if let Some(sample) = cell.sample() {
                    each(SeriesRef::new(head, entry.start_unix_nanos, sample));
                }
            }
        }
    }
    fn overflowed(&self) -> Option<u64> {
        Some(self.overflow.load(Relaxed))
    }
}

impl<const N: usize, K: ClosedKey, C: Cell> Family for Open<N, K, C> {
    fn new(decl: &'static FamilyDecl, context: &Context) -> Self {
        check::<K, C>(decl, N);
        let inner = OpenInner {
            decl,
            cells_each: K::CELLS,
            series_max: context.series_max.unwrap_or(decl.series_max),
            room: context.room.clone(),
            hasher: RandomState::default(),
            series: ArcSwap::from_pointee(Snapshot::of(Vec::new())),
            making: Mutex::new(Spare(Place {
                chunk: Arc::default(),
                start: 0,
            })),
            rendered: ArcSwapOption::empty(),
            overflow: AtomicU64::new(0),
        };
        Self(Arc::new(inner), PhantomData)
    }
    fn collect(&self) -> Arc<dyn Collect> {
        Arc::clone(&self.0) as Arc<dyn Collect>
    }
}

/// The cells of one set of open values. Holding it saves the look-up.
pub struct Handle<K, C>(Place<C>, PhantomData<K>);

impl<K, C> Clone for Handle<K, C> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<K: ClosedKey, C> Handle<K, C> {
    /// The cell of these closed values.
    pub fn at(&self, key: K) -> &C {
        self.0.cell(key.cell())
    }
}

impl<C> Deref for Handle<(), C> {
    type Target = C;
    fn deref(&self) -> &C {
        self.0.cell(0)
    }
}
