//! Questions to the metrics, declared once: rendered as `PromQL` for Prometheus and
//! Grafana, and answered in the process from a small history, with the same numbers.
//!
//! - [`Expr`] is a question, built by small functions: [`series`], [`buckets`], [`ratio`].
//! - `promql` writes it as a careful operator would.
//! - `check` finds what doesn't fit: a label that isn't declared, sides of a ratio that
//!   aren't alike.
//! - `history` keeps the last day of the series that are asked for; `eval` answers.

mod build;
mod check;
mod column;
mod eval;
mod expr;
mod history;
mod promql;
mod quantile;
mod window;

pub use build::{absent, buckets, counts, mean, quantile, ratio, ratio_beyond, series, sums, time};
pub use eval::{LOOK_BACK, Line, Times, TooLarge, VALUES_MAX, Values, answer};
pub use expr::{
    Aggregation, BinaryOp, CompareOp, Expr, Function, GRAFANA_WINDOW, Matcher, Part, Selector,
    TARGET, TARGET_LABEL, UP, Window,
};
pub use history::{
    BYTES_MAX, Bounds, Held, History, KEPT, Labels, Point, SERIES_MAX, Source, TICK,
};
