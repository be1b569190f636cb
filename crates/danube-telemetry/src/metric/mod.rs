//! Metrics: cells (one atomic number or histogram), families of cells with typed
//! labels, the registry that owns them, and the text that a scrape reads.

mod cell;
mod decl;
mod exemplar;
mod expiring;
mod exposition;
mod family;
mod label;
mod name;
mod negotiate;
mod open;
pub mod process;
mod registry;
mod striped;

pub use cell::{
    Cell, Counter, Cumulative, FloatCounter, FloatGauge, Gauge, Histogram, HistogramSample, Sample,
};
pub use decl::{
    BUCKETS_MAX, FamilyDecl, Kind, LABELS_MAX, LabelDecl, LabelValues, SERIES_MAX, Start,
};
pub use exemplar::Exemplar;
pub use expiring::{EXPIRES_AFTER, Expiring, ExpiringHandle};
pub use family::{
    Closed, Collect, Context, Family, PROCESS_SERIES_MAX, SeriesRef, SeriesRoom, Single,
};
pub use label::{ClosedKey, LabelEnum, OTHER, pairs};
pub use name::{Name, prometheus_name, unit_word};
pub use negotiate::{Format, negotiate};
pub use open::{Handle, Open};
pub use registry::{Clock, Registry};
pub use striped::Striped;
