//! What a family is, as const data: one declaration that the registry, the
//! exposition, the reference page and later exports all read.

use super::label::LabelEnum;
use super::name::{Name, prometheus_name, unit_word};

/// Most labels a family may have. More than that is a log line, not a metric.
pub const LABELS_MAX: usize = 5;

/// Series that one family with open labels may hold before new values share
/// `__other__`: enough for any house's pipelines, small enough to scrape.
pub const SERIES_MAX: usize = 1_000;

/// Most bounds of a histogram: each is a series of its own, and more than this say
/// nothing more about a time.
pub const BUCKETS_MAX: usize = 20;

/// Type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only goes up; the name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of observations by upper bound.
    Histogram,
    /// Constant 1 whose labels are the message; the name ends in `_info`.
    Info,
}

/// Which values a label may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelValues {
    /// A closed set: every cell exists from the start.
    Closed(&'static [&'static str]),
    /// A known set too large to export at 0 (status codes): cells are made on
    /// first use, and the value stays when the family overflows.
    Sparse,
    /// User input: interned up to the family's limit, then `__other__`.
    Bounded,
    /// An id: capped, and removed some time after its owner is done.
    Expiring,
}

/// One label of a family.
#[derive(Debug, Clone, Copy)]
pub struct LabelDecl {
    /// Key of the OpenTelemetry attribute: `cicd.pipeline.name`.
    pub key: &'static str,
    /// Its values.
    pub values: LabelValues,
    name: Name,
}

impl LabelDecl {
    const fn new(key: &'static str, values: LabelValues) -> Self {
        Self {
            key,
            values,
            name: Name::escaped(key),
        }
    }

    /// Name of the Prometheus label: `cicd_pipeline_name`.
    pub const fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// When a cell is first exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// From the start, at 0, so that `rate()` sees the first event.
    AtZero,
    /// Once it is set: for gauges whose 0 means something (a full disk).
    WhenSet,
}

/// Declaration of a family. Made by the `const` builders below.
#[derive(Debug, Clone, Copy)]
pub struct FamilyDecl {
    /// OpenTelemetry name, without unit and `_total`: `danube.job.duration`.
    pub otel_name: &'static str,
    /// One sentence for `# HELP`.
    pub help: &'static str,
    /// Type.
    pub kind: Kind,
    /// UCUM unit: `s`, `By`, `1`, an annotation like `{job}`, or empty.
    pub unit: &'static str,
    /// Upper bounds of a histogram, ascending, in the family's unit, without `+Inf`.
    pub buckets: &'static [f64],
    /// Most series with open label values.
    pub series_max: usize,
    /// When cells are first exported.
    pub start: Start,
    name: Name,
    /// The documents fix the name: it isn't computed.
    is_named: bool,
    labels: [LabelDecl; LABELS_MAX],
    labels_len: usize,
}

const NO_LABEL: LabelDecl = LabelDecl::new("", LabelValues::Sparse);

impl FamilyDecl {
    const fn new(kind: Kind, otel_name: &'static str, help: &'static str) -> Self {
        Self {
            otel_name,
            name: prometheus_name(otel_name, "", kind),
            is_named: false,
            help,
            kind,
            unit: "",
            buckets: &[],
            series_max: SERIES_MAX,
            start: Start::AtZero,
            labels: [NO_LABEL; LABELS_MAX],
            labels_len: 0,
        }
    }

    /// A counter.
    pub const fn counter(otel_name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Counter, otel_name, help)
    }

    /// A gauge.
    pub const fn gauge(otel_name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Gauge, otel_name, help)
    }

    /// A constant 1 with a message in its labels.
    pub const fn info(otel_name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Info, otel_name, help)
    }

    /// A histogram in seconds.
    pub const fn histogram(
        otel_name: &'static str,
        help: &'static str,
        buckets: &'static [f64],
    ) -> Self {
        assert!(
            buckets.len() <= BUCKETS_MAX,
            "a histogram has at most 20 bounds"
        );
        let mut decl = Self::new(Kind::Histogram, otel_name, help);
        decl.buckets = buckets;
        decl.unit("s")
    }

    /// Sets the UCUM unit, from which the name is computed anew.
    #[must_use]
    pub const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        if !self.is_named {
            self.name = prometheus_name(self.otel_name, unit, self.kind);
        }
        self
    }

    /// Fixes the Prometheus name, where a document or a convention gives another one
    /// than the rules.
    #[must_use]
    pub const fn named(mut self, name: &'static str) -> Self {
        self.name = Name::exactly(name);
        self.is_named = true;
        self
    }

    /// Prometheus name, complete with unit and `_total`.
    pub const fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Whether the Prometheus name is fixed rather than computed.
    pub const fn is_named(&self) -> bool {
        self.is_named
    }

    /// Word of the unit: `seconds`, `bytes`, `ratio` or empty.
    pub const fn unit_word(&self) -> &'static str {
        unit_word(self.unit)
    }

    /// Exports cells only once they are set.
    #[must_use]
    pub const fn when_set(mut self) -> Self {
        self.start = Start::WhenSet;
        self
    }

    /// Sets the most series with open label values.
    #[must_use]
    pub const fn series_max(mut self, series_max: usize) -> Self {
        self.series_max = series_max;
        self
    }

    /// Adds a label with the values of `L`.
    #[must_use]
    pub const fn closed<L: LabelEnum>(self, key: &'static str) -> Self {
        self.label(key, LabelValues::Closed(L::VALUES))
    }

    /// Adds a label that takes user input.
    #[must_use]
    pub const fn bounded(self, key: &'static str) -> Self {
        self.label(key, LabelValues::Bounded)
    }

    /// Adds a label with known values that are too many to export at 0.
    #[must_use]
    pub const fn sparse(self, key: &'static str) -> Self {
        self.label(key, LabelValues::Sparse)
    }

    /// Adds a label that takes ids and forgets them.
    #[must_use]
    pub const fn expiring(self, key: &'static str) -> Self {
        self.label(key, LabelValues::Expiring)
    }

    /// Adds a label. More than [`LABELS_MAX`] don't compile.
    #[must_use]
    pub const fn label(mut self, key: &'static str, values: LabelValues) -> Self {
        assert!(
            self.labels_len < LABELS_MAX,
            "a family has at most 5 labels"
        );
        self.labels[self.labels_len] = LabelDecl::new(key, values);
        self.labels_len += 1;
        self
    }

    /// Labels, in the order in which they are written.
    pub fn labels(&self) -> &[LabelDecl] {
        &self.labels[..self.labels_len]
    }

    /// Whether every label value is known beforehand.
    pub fn is_closed(&self) -> bool {
        self.labels()
            .iter()
            .all(|label| matches!(label.values, LabelValues::Closed(_)))
    }
}
