//! Families whose labels are all closed: their cells exist from the start and are
//! found by an index.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use super::cell::{Cell, Sample};
use super::decl::{FamilyDecl, LabelValues};
use super::label::{ClosedKey, escape};
use super::registry::Clock;

/// What a family is given when it is made.
pub struct Context {
    /// Where "now" comes from.
    pub clock: Clock,
    /// Series of a family with open labels, in place of what it declares.
    pub series_max: Option<usize>,
}

/// One series as a reader sees it.
pub struct SeriesRef<'a> {
    /// Rendered and escaped labels without braces; [`pairs`](super::pairs) reads them back.
    pub labels: &'a str,
    /// Its reading.
    pub sample: Sample<'a>,
}

/// What every reader (text today, push and panels later) gets from a family.
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

/// Renders the labels of one cell: `open` and the closed values, in declared order.
pub(super) fn render(decl: &FamilyDecl, open: &[&str], cell: usize) -> Box<str> {
    let sizes = decl.labels().iter().map(|label| match label.values {
        LabelValues::Closed(values) => values.len(),
        _ => 1,
    });
    let mut below: usize = sizes.product();
    let mut open = open.iter();
    let mut out = String::new();
    for label in decl.labels() {
        let value = if let LabelValues::Closed(values) = label.values {
            below /= values.len();
            values[cell / below % values.len()]
        } else {
            open.next().copied().unwrap_or_default()
        };
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(label.name());
        out.push_str("=\"");
        escape(value, &mut out);
        out.push('"');
    }
    out.into()
}

struct Cells<C> {
    decl: &'static FamilyDecl,
    cells: Box<[(Box<str>, C)]>,
}

impl<C: Cell> Cells<C> {
    fn new(decl: &'static FamilyDecl, count: usize) -> Arc<Self> {
        let cells = (0..count)
            .map(|cell| (render(decl, &[], cell), C::new(decl)))
            .collect();
        Arc::new(Self { decl, cells })
    }
}

impl<C: Cell> Collect for Cells<C> {
    fn decl(&self) -> &'static FamilyDecl {
        self.decl
    }
    fn visit(&self, each: &mut dyn FnMut(SeriesRef<'_>)) {
        for (labels, cell) in &self.cells {
            if let Some(sample) = cell.sample() {
                each(SeriesRef { labels, sample });
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
