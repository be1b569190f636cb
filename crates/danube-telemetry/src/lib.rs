//! Mechanism of telemetry: the JSON log layer, the metric registry and its
//! exposition, trace context. Knows nothing of jobs: which events and metrics
//! there are is the catalogue's business.
//!
//! - [`metric`]: cells, typed families, the registry, text exposition.
//! - [`query`]: questions to the metrics, as `PromQL` and answered in the process.
//! - [`log`]: JSON lines (or text on a terminal) through a bounded writer thread,
//!   with a level filter that can be changed while running.
//! - [`context`]: W3C trace context and random ids; [`current()`]: the trace that a thread
//!   works in.
//! - [`propagation`]: carries it from one process to another.
//! - [`span`]: marks the span that a thread is in.
//! - [`trace`]: spans that are kept, received and shown.
//! - [`otlp`]: pushes metrics, logs and spans to a collector.
//! - [`profile`]: who uses the processor and holds the memory; [`tasks`]: what each loop does.
//! - [`outgoing`]: the client for what the server calls by itself.
//! - [`recorder`]: captures the lines of a test.

pub mod context;
mod current;
pub mod log;
pub mod metric;
pub mod otlp;
pub mod outgoing;
pub mod profile;
pub mod propagation;
pub mod query;
pub mod recorder;
pub mod span;
pub mod tasks;
pub mod trace;

pub use context::TraceContext;
pub use current::current;
pub use log::{LogFormat, LogGuard, LogHandle, LogOptions, Output};
pub use metric::{
    Closed, Counter, Expiring, ExpiringHandle, FamilyDecl, FloatCounter, FloatGauge, Format, Gauge,
    Handle, Histogram, Kind, LabelEnum, Open, Registry, Single, Striped, negotiate,
};
pub use recorder::Recorder;
