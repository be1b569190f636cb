//! The registry: owns the families, refreshes what is observed at collect time,
//! and shows everything to a reader in the order of registration.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use super::cell::{HistogramSample, Sample};
use super::decl::{FamilyDecl, Kind, LabelValues, Start};
use super::exemplar::now_unix_nanos;
use super::exposition::encode;
use super::family::{Collect, Context, Family, SeriesRef, head};
use super::label::pairs;
use super::negotiate::Format;

/// Where "now" comes from; a test gives its own.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

type Callback = Box<dyn Fn() + Send + Sync>;

struct Inner {
    context: Context,
    families: RwLock<Vec<Arc<dyn Collect>>>,
    callbacks: RwLock<Vec<Callback>>,
}

/// All families of a process. Cloning it is cheap and gives the same registry.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::with(Context::default())
    }

    /// An empty registry whose families are made with `context`: a test's own clock,
    /// or another limit on series.
    pub fn with(context: Context) -> Self {
        Self(Arc::new(Inner {
            context,
            families: RwLock::default(),
            callbacks: RwLock::default(),
        }))
    }

    /// Registers a family and gives its typed handle.
    ///
    /// # Panics
    /// When the name is taken or the declaration doesn't fit the type: the
    /// catalogue is wrong, which its tests see.
    pub fn add<F: Family>(&self, decl: &'static FamilyDecl) -> F {
        let family = F::new(decl, &self.0.context);
        self.push(family.collect());
        family
    }

    /// Registers a family that nothing records yet: exported at 0 where all its
    /// label values are known, absent otherwise.
    pub fn add_zeros(&self, decl: &'static FamilyDecl) {
        self.push(Arc::new(Zeros {
            decl,
            start_unix_nanos: now_unix_nanos(),
        }));
    }

    /// Registers the family, with the one open label `family`, that counts how
    /// often each capped family turned a new value away.
    pub fn add_overflow(&self, decl: &'static FamilyDecl) {
        let families = Arc::downgrade(&self.0);
        self.push(Arc::new(Overflow {
            decl,
            families,
            start_unix_nanos: now_unix_nanos(),
        }));
    }

    /// Runs `refresh` before each collection, to set gauges that are observed. It
    /// must be quick; one that panics spoils nothing but its own gauges.
    pub fn on_collect(&self, refresh: impl Fn() + Send + Sync + 'static) {
        self.0
            .callbacks
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(refresh));
    }

    /// Shows every family to `each`, in the order of registration, after refreshing
    /// what is observed. Every export reads through this.
    pub fn collect(&self, each: &mut dyn FnMut(&dyn Collect)) {
        for refresh in self
            .0
            .callbacks
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            // The panic hook has told of it; a scrape must not die of one gauge.
            let _ = catch_unwind(AssertUnwindSafe(refresh));
        }
        let families = self.families();
        for family in &families {
            each(family.as_ref());
        }
    }

    /// The body of a scrape.
    pub fn encode(&self, format: Format) -> String {
        let mut out = Vec::new();
        self.encode_into(format, &mut out);
        String::from_utf8(out).expect("names, labels and numbers are UTF-8")
    }

    /// Appends the body of a scrape, to a buffer that the caller uses again. Returns how
    /// many series there are.
    pub fn encode_into(&self, format: Format, out: &mut Vec<u8>) -> usize {
        encode(self, format, out)
    }

    /// Reads one sample as a scrape would show it, for tests:
    /// `danube_jobs_total{status="success",pipeline="x"}`, labels in any order, also
    /// `…_bucket{le="1.0"}`, `…_sum` and `…_count`. `None` when it isn't exported.
    pub fn value(&self, selector: &str) -> Option<f64> {
        let (name, labels) = parse(selector);
        self.encode(Format::Text004)
            .lines()
            .filter(|line| !line.starts_with('#'))
            .find_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                (parse(series) == (name, labels.clone())).then(|| value.parse().ok())?
            })
    }

    fn families(&self) -> Vec<Arc<dyn Collect>> {
        self.0
            .families
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn push(&self, family: Arc<dyn Collect>) {
        let name = family.decl().name();
        let mut families = self
            .0
            .families
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            families.iter().all(|it| it.decl().name() != name),
            "{name} is declared twice"
        );
        families.push(family);
    }
}

/// Name and sorted labels of a series as it is written.
fn parse(series: &str) -> (&str, Vec<(&str, String)>) {
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let mut labels = pairs(labels.strip_suffix('}').unwrap_or(labels));
    labels.sort();
    (name, labels)
}

struct Zeros {
    decl: &'static FamilyDecl,
    start_unix_nanos: u64,
}

impl Collect for Zeros {
    fn decl(&self) -> &'static FamilyDecl {
        self.decl
    }
    fn visit(&self, each: &mut dyn FnMut(SeriesRef<'_>)) {
        let decl = self.decl;
        if !decl.is_closed() || decl.start == Start::WhenSet {
            return;
        }
        let sizes = decl.labels().iter().map(|label| match label.values {
            LabelValues::Closed(values) => values.len(),
            _ => 1,
        });
        for cell in 0..sizes.product() {
            let sample = match decl.kind {
                Kind::Counter => Sample::Counter(0),
                Kind::Gauge | Kind::Info => Sample::Gauge(0),
                Kind::Histogram => Sample::Histogram(HistogramSample::empty(decl.buckets)),
            };
            let head = head(decl, &[], cell);
            each(SeriesRef::new(&head, self.start_unix_nanos, sample));
        }
    }
}

struct Overflow {
    decl: &'static FamilyDecl,
    families: std::sync::Weak<Inner>,
    start_unix_nanos: u64,
}

impl Collect for Overflow {
    fn decl(&self) -> &'static FamilyDecl {
        self.decl
    }
    fn visit(&self, each: &mut dyn FnMut(SeriesRef<'_>)) {
        let Some(inner) = self.families.upgrade() else {
            return;
        };
        for family in Registry(inner).families() {
            let Some(times) = family.overflowed() else {
                continue;
            };
            let head = head(self.decl, &[family.decl().name()], 0);
            let sample = Sample::Counter(times);
            each(SeriesRef::new(&head, self.start_unix_nanos, sample));
        }
    }
}
