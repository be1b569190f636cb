//! How a fact's field becomes a value of its line.

use std::time::Duration;

use danube_telemetry::LabelEnum;

use crate::alerts::Severity;
use crate::labels::{
    Check, DbOperation, DroppedSignal, HealthStatus, JobResult, LogLevelReason, ProfileKind,
};

/// A time that a line shows in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Millis(pub Duration);

/// What a field may be. `None` leaves the field out.
pub(super) trait FieldValue {
    /// What is written.
    type Written<'a>: tracing::Value
    where
        Self: 'a;
    fn value(&self) -> Self::Written<'_>;
}

macro_rules! as_is {
    ($($type:ty),*) => {$(
        impl FieldValue for $type {
            type Written<'a> = $type where Self: 'a;
            fn value(&self) -> $type {
                *self
            }
        }
    )*};
}
as_is!(u16, u32, u64, i32, i64, f64, bool);

macro_rules! by_name {
    ($($type:ty),*) => {$(
        impl FieldValue for $type {
            type Written<'a> = &'static str where Self: 'a;
            fn value(&self) -> &'static str {
                self.as_str()
            }
        }
    )*};
}
by_name!(
    Check,
    DbOperation,
    DroppedSignal,
    HealthStatus,
    JobResult,
    LogLevelReason,
    ProfileKind,
    Severity
);

impl FieldValue for &str {
    type Written<'a>
        = &'a str
    where
        Self: 'a;
    fn value(&self) -> &str {
        self
    }
}

/// Seconds, to the microsecond.
impl FieldValue for Duration {
    type Written<'a> = f64;
    fn value(&self) -> f64 {
        (self.as_secs_f64() * 1e6).round() / 1e6
    }
}

/// Milliseconds, to the microsecond.
impl FieldValue for Millis {
    type Written<'a> = f64;
    fn value(&self) -> f64 {
        (self.0.as_secs_f64() * 1e6).round() / 1e3
    }
}

impl<T: FieldValue> FieldValue for Option<T> {
    type Written<'a>
        = Option<T::Written<'a>>
    where
        Self: 'a;
    fn value(&self) -> Option<T::Written<'_>> {
        self.as_ref().map(FieldValue::value)
    }
}
