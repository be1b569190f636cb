//! The two ways to a collector. Both take a body that is encoded already and say
//! what became of it in the same words.

use std::time::Duration;

use bytes::Bytes;

use super::grpc::Grpc;
use super::http::Http;
use super::{Endpoint, Protocol, StartError};

/// How long a collector may take for its answer: the protocol's own default.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Longest wait that a collector may ask for; one that asks for more is asked again
/// then, rather than forgotten for a day because of a slip.
pub(super) const ASKED_WAIT_MAX: Duration = Duration::from_secs(300);

/// Bytes of an answer that are read: an answer is a count and a sentence.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a collector's own words that reach our log.
const WHY_BYTES_MAX: usize = 300;

/// Which service of a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Metrics,
    Logs,
    Traces,
}

impl Service {
    pub(super) fn http_path(self) -> &'static str {
        match self {
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
            Self::Traces => "/v1/traces",
        }
    }

    pub(super) fn grpc_path(self) -> &'static str {
        match self {
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        }
    }
}

/// Whether what was refused may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It will be refused again: the collector doesn't like what it says.
    Never,
    /// After a while of our own choosing.
    Later,
    /// After the while that the collector named.
    After(Duration),
}

/// A send that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) again: Again,
    /// For our log: short, one line, without what was sent.
    pub(super) why: String,
}

impl Refused {
    pub(super) fn new(again: Again, why: impl AsRef<str>) -> Self {
        let mut text = String::new();
        for c in why.as_ref().chars() {
            if text.len() + c.len_utf8() > WHY_BYTES_MAX {
                text.push('…');
                break;
            }
            text.push(if c.is_control() { ' ' } else { c });
        }
        Self { again, why: text }
    }
}

/// A way to the collector, shared by all signals.
pub(super) enum Transport {
    Grpc(Grpc),
    Http(Http),
}

impl Transport {
    pub(super) fn new(endpoint: &Endpoint, agent: &str) -> Result<Self, StartError> {
        Ok(match endpoint.protocol {
            Protocol::Grpc => Self::Grpc(Grpc::new(endpoint, agent)?),
            Protocol::HttpProtobuf => Self::Http(Http::new(endpoint, agent)?),
        })
    }

    /// Sends one message and waits for the answer, at most `deadline`.
    pub(super) fn send(
        &self,
        service: Service,
        body: &Bytes,
        deadline: Duration,
    ) -> Result<Bytes, Refused> {
        match self {
            Self::Grpc(it) => it.send(service, body, deadline),
            Self::Http(it) => it.send(service, body, deadline),
        }
    }
}
