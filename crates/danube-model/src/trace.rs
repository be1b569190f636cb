//! Where a job stands in its trace, as it is kept with its order.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a job's processes and its spans have to say of where they belong. Sealed with the
/// order, because baggage comes from outside and may hold anything.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trace {
    /// W3C `tracestate`, as it came.
    pub state: Option<String>,
    /// W3C `baggage`, as it came.
    pub baggage: Option<String>,
    /// How the job was asked for: `pipeline`, `spec`, `retry`.
    pub source_type: String,
    /// The request that submitted it.
    pub request: Option<RequestTrace>,
    /// The job that a person ran again as this one.
    pub follows: Option<Follows>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Trace")
            .field("source_type", &self.source_type)
            .field("request", &self.request)
            .field("follows", &self.follows)
            .finish_non_exhaustive()
    }
}

/// The request that submitted a job, as far as it was known before the job was stored.
/// Times are nanoseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestTrace {
    /// Template of the route, with the method: the span's name.
    pub name: String,
    /// Its span.
    pub span_id: [u8; 8],
    /// The caller's span.
    pub parent: Option<[u8; 8]>,
    /// When its head was there.
    pub began: u64,
    /// From when to when it was asked who it is.
    pub auth: (u64, u64),
    /// From when to when the pipeline was looked up and checked.
    pub load: (u64, u64),
    /// From when on the job was stored.
    pub store: u64,
}

/// The last attempt of the job before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follows {
    /// The id of the job.
    pub job: String,
    /// The context that is stored with it.
    pub traceparent: String,
    /// Its last attempt.
    pub attempt: u32,
}
