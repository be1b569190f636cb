//! Families with labels that take values from outside: interned and capped, or
//! removed some time after their owner is done.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::cell::Cell;
use super::decl::{FamilyDecl, LabelValues};
use super::exemplar::now_unix_nanos;
use super::family::{Collect, Context, Family, SeriesRef, SeriesRoom, check, render};
use super::label::{ClosedKey, OTHER};
use super::registry::Clock;

/// Longest label value that is kept; the rest is cut off. A name of a kilobyte
/// would be paid for at every scrape.
const LABEL_BYTES_MAX: usize = 256;

/// How long an expiring series stays after its owner is done: a scrape or two at
/// any usual interval sees its last value.
pub const EXPIRES_AFTER: Duration = Duration::from_secs(5 * 60);

struct Series<const N: usize, C> {
    values: [Box<str>; N],
    labels: Box<[Box<str>]>,
    cells: Arc<[C]>,
    start_unix_nanos: u64,
}

/// Sorted by values: a look-up is a binary search that allocates nothing, and readers
/// see a fixed order.
type SeriesList<const N: usize, C> = Vec<Arc<Series<N, C>>>;

struct OpenInner<const N: usize, C> {
    decl: &'static FamilyDecl,
    cells_each: usize,
    series_max: usize,
    room: SeriesRoom,
    /// Read without a lock; a list with one more takes its place when a series is made,
    /// which is rare.
    series: ArcSwap<SeriesList<N, C>>,
    /// Held by who makes a series.
    making: Mutex<()>,
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
        let values = values.map(cut);
        let series = self.0.series.load();
        let cells = match find(&series, &values) {
            Ok(at) => Arc::clone(&series[at].cells),
            Err(_) => self.0.make(values),
        };
        Handle(cells, PhantomData)
    }

    /// Records in the cell of these values, looked up without a lock and without an
    /// allocation.
    pub fn record<T>(&self, values: [&str; N], key: K, record: impl FnOnce(&C) -> T) -> T {
        let values = values.map(cut);
        let series = self.0.series.load();
        match find(&series, &values) {
            Ok(at) => record(&series[at].cells[key.cell()]),
            Err(_) => record(&self.0.make(values)[key.cell()]),
        }
    }
}

impl<const N: usize, C: Cell> OpenInner<N, C> {
    /// Makes the series, or finds the one that takes its place when there is no room.
    fn make(&self, mut values: [&str; N]) -> Arc<[C]> {
        let making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let series = self.series.load_full();
        let mut at = find(&series, &values);
        if at.is_err() && (series.len() >= self.series_max || !self.room.take(self.cells_each)) {
            self.overflow.fetch_add(1, Relaxed);
            // The few sparse values stay, so that splits by them remain right; twice
            // the cap is the end in any case.
            let all = series.len() >= self.series_max.saturating_mul(2);
            let open = self.decl.labels().iter().filter(|it| !closed(it.values));
            for (value, label) in values.iter_mut().zip(open) {
                if all || label.values != LabelValues::Sparse {
                    *value = OTHER;
                }
            }
            at = find(&series, &values);
        }
        let at = match at {
            Ok(at) => return Arc::clone(&series[at].cells),
            Err(at) => at,
        };
        let cells: Arc<[C]> = (0..self.cells_each).map(|_| C::new(self.decl)).collect();
        let labels = (0..self.cells_each).map(|cell| render(self.decl, &values, cell));
        let new = Series {
            values: values.map(Box::from),
            labels: labels.collect(),
            cells: Arc::clone(&cells),
            start_unix_nanos: now_unix_nanos(),
        };
        let mut longer = Vec::with_capacity(series.len() + 1);
        longer.extend_from_slice(&series[..at]);
        longer.push(Arc::new(new));
        longer.extend_from_slice(&series[at..]);
        self.series.store(Arc::new(longer));
        drop(making);
        cells
    }
}

fn closed(values: LabelValues) -> bool {
    matches!(values, LabelValues::Closed(_))
}

fn find<const N: usize, C>(
    series: &[Arc<Series<N, C>>],
    values: &[&str; N],
) -> Result<usize, usize> {
    series.binary_search_by(|it| {
        it.values
            .iter()
            .map(AsRef::as_ref)
            .cmp(values.iter().copied())
    })
}

fn cut(value: &str) -> &str {
    if value.len() <= LABEL_BYTES_MAX {
        return value;
    }
    let mut end = LABEL_BYTES_MAX;
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

impl<const N: usize, C: Cell> Collect for OpenInner<N, C> {
    fn decl(&self) -> &'static FamilyDecl {
        self.decl
    }
    fn visit(&self, each: &mut dyn FnMut(SeriesRef<'_>)) {
        for one in self.series.load_full().iter() {
            for (labels, cell) in one.labels.iter().zip(one.cells.iter()) {
                if let Some(sample) = cell.sample() {
                    each(SeriesRef {
                        labels,
                        start_unix_nanos: one.start_unix_nanos,
                        sample,
                    });
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
            series: ArcSwap::default(),
            making: Mutex::default(),
            overflow: AtomicU64::new(0),
        };
        Self(Arc::new(inner), PhantomData)
    }
    fn collect(&self) -> Arc<dyn Collect> {
        Arc::clone(&self.0) as Arc<dyn Collect>
    }
}

/// The cells of one set of open values. Holding it makes recording lock-free.
pub struct Handle<K, C>(Arc<[C]>, PhantomData<K>);

impl<K, C> Clone for Handle<K, C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

impl<K: ClosedKey, C> Handle<K, C> {
    /// The cell of these closed values.
    pub fn at(&self, key: K) -> &C {
        &self.0[key.cell()]
    }
}

impl<C> Deref for Handle<(), C> {
    type Target = C;
    fn deref(&self) -> &C {
        &self.0[0]
    }
}

struct Entry<C> {
    labels: Box<str>,
    cell: Arc<C>,
    start_unix_nanos: u64,
    owners: usize,
    done_at: Option<Instant>,
}

struct ExpiringInner<C> {
    decl: &'static FamilyDecl,
    series_max: usize,
    room: SeriesRoom,
    clock: Clock,
    entries: Mutex<BTreeMap<Box<str>, Entry<C>>>,
    overflow: AtomicU64,
}

/// A family with one label that takes ids: a series lives as long as its handles
/// and [`EXPIRES_AFTER`] longer.
pub struct Expiring<C>(Arc<ExpiringInner<C>>);

impl<C> Clone for Expiring<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Cell> Expiring<C> {
    /// The cell of `id`. An id that is opened again before it expired goes on where
    /// it was. When the family is full of ids in use, the cell is that of `__other__`.
    pub fn open(&self, id: &str) -> ExpiringHandle<C> {
        let inner = &self.0;
        let mut id = cut(id);
        let mut entries = inner.lock();
        inner.expire(&mut entries);
        if !entries.contains_key(id) && !inner.has_room(&mut entries) {
            inner.overflow.fetch_add(1, Relaxed);
            id = OTHER;
        }
        let entry = entries.entry(id.into()).or_insert_with(|| Entry {
            labels: render(inner.decl, &[id], 0),
            cell: Arc::new(C::new(inner.decl)),
            start_unix_nanos: now_unix_nanos(),
            owners: 0,
            done_at: None,
        });
        entry.owners += 1;
        entry.done_at = None;
        let cell = Arc::clone(&entry.cell);
        ExpiringHandle {
            family: Arc::clone(inner),
            id: id.into(),
            cell,
        }
    }
}

/// Removes the series that has been done the longest.
fn evict<C>(entries: &mut BTreeMap<Box<str>, Entry<C>>) -> bool {
    let oldest = entries
        .iter()
        .filter_map(|(id, entry)| entry.done_at.map(|at| (at, id)))
        .min()
        .map(|(_, id)| id.clone());
    oldest.is_some_and(|id| entries.remove(&id).is_some())
}

impl<C> ExpiringInner<C> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Entry<C>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expire(&self, entries: &mut BTreeMap<Box<str>, Entry<C>>) {
        let now = (self.clock)();
        let before = entries.len();
        entries.retain(|_, entry| entry.done_at.is_none_or(|done| done + EXPIRES_AFTER > now));
        self.room.give(before - entries.len());
    }

    /// Takes room for one more, where need be that of one whose owner is done.
    fn has_room(&self, entries: &mut BTreeMap<Box<str>, Entry<C>>) -> bool {
        if entries.len() < self.series_max && self.room.take(1) {
            return true;
        }
        evict(entries)
    }
}

impl<C: Cell> Collect for ExpiringInner<C> {
    fn decl(&self) -> &'static FamilyDecl {
        self.decl
    }
    fn visit(&self, each: &mut dyn FnMut(SeriesRef<'_>)) {
        let series: Vec<_> = {
            let mut entries = self.lock();
            self.expire(&mut entries);
            entries
                .values()
                .map(|entry| {
                    let cell = Arc::clone(&entry.cell);
                    (entry.labels.clone(), entry.start_unix_nanos, cell)
                })
                .collect()
        };
        for (labels, start_unix_nanos, cell) in &series {
            if let Some(sample) = cell.sample() {
                each(SeriesRef {
                    labels,
                    start_unix_nanos: *start_unix_nanos,
                    sample,
                });
            }
        }
    }
    fn overflowed(&self) -> Option<u64> {
        Some(self.overflow.load(Relaxed))
    }
}

impl<C: Cell> Family for Expiring<C> {
    fn new(decl: &'static FamilyDecl, context: &Context) -> Self {
        check::<(), C>(decl, 1);
        let inner = ExpiringInner {
            decl,
            series_max: context.series_max.unwrap_or(decl.series_max),
            room: context.room.clone(),
            clock: Arc::clone(&context.clock),
            entries: Mutex::default(),
            overflow: AtomicU64::new(0),
        };
        Self(Arc::new(inner))
    }
    fn collect(&self) -> Arc<dyn Collect> {
        Arc::clone(&self.0) as Arc<dyn Collect>
    }
}

/// An owner of an expiring series; dropping the last one starts its time to go.
pub struct ExpiringHandle<C> {
    family: Arc<ExpiringInner<C>>,
    id: Box<str>,
    cell: Arc<C>,
}

impl<C> Deref for ExpiringHandle<C> {
    type Target = C;
    fn deref(&self) -> &C {
        &self.cell
    }
}

impl<C> Drop for ExpiringHandle<C> {
    fn drop(&mut self) {
        let now = (self.family.clock)();
        if let Some(entry) = self.family.lock().get_mut(&self.id) {
            entry.owners -= 1;
            if entry.owners == 0 {
                entry.done_at = Some(now);
            }
        }
    }
}
