//! Families whose labels are all closed: their cells exist from the start and are
//! found by an index.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use super::cell::{Cell, Sample};
use super::decl::{FamilyDecl, LabelValues};
use super::exemplar::now_unix_nanos;
use super::label::{ClosedKey, escape};
use super::registry::Clock;

/// What a family is given when it is made.
pub struct Context {
    /// Where "now" comes from.
    pub clock: Clock,
    /// Series of a family with open labels, in place of what it declares.
    pub series_max: Option<usize>,
    /// What all families with open labels of the process share.
    pub room: SeriesRoom,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            clock: Arc::new(Instant::now),
            series_max: None,
            room: SeriesRoom::of(PROCESS_SERIES_MAX),
        }
    }
}

/// Series with open label values that a process may hold in all: some 30 MB, and a
/// scrape of a few milliseconds.
pub const PROCESS_SERIES_MAX: usize = 50_000;

/// Room for new series, shared by families. Looked at only when a series is made.
#[derive(Debug, Clone)]
pub struct SeriesRoom(Arc<AtomicUsize>);

impl SeriesRoom {
    /// Room for so many.
    pub fn of(series: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(series)))
    }

    /// Takes room for `series`; `false` and nothing taken where there isn't so much.
    pub(super) fn take(&self, series: usize) -> bool {
        self.0
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(series))
            .is_ok()
    }

    /// Whether there is room for `series`.
    pub(super) fn has(&self, series: usize) -> bool {
        self.0.load(Relaxed) >= series
    }

    /// Gives room back.
    pub(super) fn give(&self, series: usize) {
        self.0.fetch_add(series, Relaxed);
    }
}

/// One series as a reader sees it.
pub struct SeriesRef<'a> {
    /// Rendered and escaped labels without braces; [`pairs`](super::pairs) reads them back.
    pub labels: &'a str,
    /// Since when it counts, Unix time.
    pub start_unix_nanos: u64,
    /// Its reading.
    pub sample: Sample<'a>,
    /// What stands between name and value in a line of text, as [`head_into`] wrote it.
    pub(super) head: &'a str,
}

impl<'a> SeriesRef<'a> {
    pub(super) fn new(head: &'a str, start_unix_nanos: u64, sample: Sample<'a>) -> Self {
        let labels = head.strip_prefix('{').and_then(|it| it.strip_suffix("} "));
        Self {
            labels: labels.unwrap_or_default(),
            start_unix_nanos,
            sample,
            head,
        }
    }
}

/// What every reader (text, push, panels) gets from a family.
pub trait Collect: Send + Sync {
    /// Its declaration.
    fn decl(&self) -> &'static FamilyDecl;
    /// Shows every exported series, in a fixed order.
    fn visit(&self, each: &mut dyn FnMut(SeriesRef<'_>));
    /// How often a new value was turned away; `None` where that can't be.
    fn overflowed(&self) -> Option<u64> {
        None
    }
}

/// A typed handle of a family. Cloning it is cheap and gives the same cells.
pub trait Family: Clone {
    /// Makes the family's cells.
    ///
    /// # Panics
    /// When the declaration doesn't fit the type: the catalogue is wrong.
    fn new(decl: &'static FamilyDecl, context: &Context) -> Self;
    /// The side that readers see.
    fn collect(&self) -> Arc<dyn Collect>;
}

/// Panics unless `decl` has the kind, closed sets and number of open labels of the type.
pub(super) fn check<K: ClosedKey, C: Cell>(decl: &'static FamilyDecl, open: usize) {
    let name = decl.name();
    assert!(
        C::fits(decl.kind),
        "{name}: a {:?} can't be held by this cell",
        decl.kind
    );
    let sets: Vec<_> = decl
        .labels()
        .iter()
        .filter_map(|label| match label.values {
            LabelValues::Closed(values) => Some(values),
            LabelValues::Sparse | LabelValues::Bounded | LabelValues::Expiring => None,
        })
        .collect();
    assert!(
        sets == K::SETS,
        "{name}: the closed labels are not those of the type"
    );
    assert!(
        decl.labels().len() - sets.len() == open,
        "{name}: wrong number of open labels"
    );
}

/// Appends what stands between name and value of a line: `{a="x",b="y"} `, or a space
/// where there is no label. `open` and the closed values of `cell` come in declared order.
///
/// Written once for each series, so that a scrape copies it in one piece.
pub(super) fn head_into(decl: &FamilyDecl, open: &[&str], cell: usize, out: &mut String) {
    let sizes = decl.labels().iter().map(|label| match label.values {
        LabelValues::Closed(values) => values.len(),
        _ => 1,
    });
    let mut below: usize = sizes.product();
    let mut open = open.iter();
    let mut before = '{';
    for label in decl.labels() {
        let value = if let LabelValues::Closed(values) = label.values {
            below /= values.len();
            values[cell / below % values.len()]
        } else {
            open.next().copied().unwrap_or_default()
        };
        out.push(before);
        before = ',';
        out.push_str(label.name());
        out.push_str("=\"");
        escape(value, out);
        out.push('"');
    }
    if before == ',' {
        out.push('}');
    }
    out.push(' ');
}

/// [`head_into`] on its own.
pub(super) fn head(decl: &FamilyDecl, open: &[&str], cell: usize) -> Box<str> {
    let mut out = String::new();
    head_into(decl, open, cell, &mut out);
    out.into()
}

struct Cells<C> {
    decl: &'static FamilyDecl,
    start_unix_nanos: u64,
    cells: Box<[(Box<str>, C)]>,
}

impl<C: Cell> Cells<C> {
    fn new(decl: &'static FamilyDecl, count: usize) -> Arc<Self> {
        let cells = (0..count)
            .map(|cell| (head(decl, &[], cell), C::new(decl)))
            .collect();
        Arc::new(Self {
            decl,
            start_unix_nanos: now_unix_nanos(),
            cells,
        })
    }
}

impl<C: Cell> Collect for Cells<C> {
    fn decl(&self) -> &'static FamilyDecl {
        self.decl
    }
    fn visit(&self, each: &mut dyn FnMut(SeriesRef<'_>)) {
        for (head, cell) in &self.cells {
            if let Some(sample) = cell.sample() {
                each(SeriesRef::new(head, self.start_unix_nanos, sample));
            }
        }
    }
}

/// A family without labels; it stands for its one cell.
pub struct Single<C>(Arc<Cells<C>>);

impl<C> Clone for Single<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Deref for Single<C> {
    type Target = C;
    fn deref(&self) -> &C {
        &self.0.cells[0].1
    }
}

impl<C: Cell> Family for Single<C> {
    fn new(decl: &'static FamilyDecl, _: &Context) -> Self {
        check::<(), C>(decl, 0);
        Self(Cells::new(decl, 1))
    }
    fn collect(&self) -> Arc<dyn Collect> {
        Arc::clone(&self.0) as Arc<dyn Collect>
    }
}

/// A family whose labels are all closed.
pub struct Closed<K, C>(Arc<Cells<C>>, PhantomData<K>);

impl<K, C> Clone for Closed<K, C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

impl<K: ClosedKey, C: Cell> Closed<K, C> {
    /// The cell of these label values: an array access.
    pub fn at(&self, key: K) -> &C {
        &self.0.cells[key.cell()].1
    }
}

impl<K: ClosedKey, C: Cell> Family for Closed<K, C> {
    fn new(decl: &'static FamilyDecl, _: &Context) -> Self {
        check::<K, C>(decl, 0);
        Self(Cells::new(decl, K::CELLS), PhantomData)
    }
    fn collect(&self) -> Arc<dyn Collect> {
        Arc::clone(&self.0) as Arc<dyn Collect>
    }
}
