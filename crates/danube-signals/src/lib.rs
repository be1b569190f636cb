//! The catalogue: every event and metric that Danube tells, declared once.
//!
//! A fact is a struct that is a [`Fact`]; telling it (`signals.emit(JobStarted { … })`) writes
//! its log line, moves its metrics and, where it tells of a failure, marks the current span,
//! so that they can't disagree. Metrics that no
//! fact moves are fields of [`Families`], which [`Signals`] stands for. A name that
//! isn't declared here doesn't compile.
//!
//! Job spans and request spans carry the ids that a line shows: [`request_span`],
//! [`job_span`]; a job's own are made by [`AttemptTrace`].

mod alerts;
mod catalogue;
mod declared;
mod export;
mod fact;
mod families;
mod labels;
mod not_yet;
mod panels;
mod runbooks;
mod signals;
mod span;

pub use alerts::{Alert, Expected, Severity, alerts};
pub use catalogue::{
    Signal, alerts_that_use, catalogue, find, kind_shown, labels_shown, panels_that_use, promql_of,
    series_max,
};
pub use declared::{EventDecl, FamilyState, State, events, families};
pub use export::{ExportFile, ExportOptions, export};
pub use fact::*;
pub use families::Families;
pub use labels::*;
pub use panels::{Dashboard, Panel, Query, Unit, panel, panels};
pub use signals::{BuildInfo, Limits, Signals};
pub use span::{
    AttemptTrace, HOST_EVENTS_MAX, JobSpans, PlayTrace, PlaybookTrace, RequestSpan, ResultTrace,
    RunOutcome, RunStepTrace, Source, SpanDecl, StepTrace, Stretch, SubmitTrace, TASK_SPANS_MAX,
    TaskTrace, WebhookTrace, heal_failed, heal_span, job_span, request_answered, request_span,
    spans, webhook_span_id,
};

/// The declaration of each family, by its name: what panels, alerts and documents refer
/// to. One that isn't declared doesn't compile.
pub mod family {
    pub use crate::families::declared::*;
    pub use crate::not_yet::declared::*;
}

/// First parts of the names of our own loggers; everything else is a library.
pub const OWN_LOGGERS: &[&str] = &["danube", "ansible_api"];

/// Logger of what the log says about itself.
pub const LOG_LOGGER: &str = "danube.telemetry";
