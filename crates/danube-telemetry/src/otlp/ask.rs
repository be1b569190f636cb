//! Asks a collector whether it would take what it is going to be sent.

use std::time::Duration;

use bytes::Bytes;

use super::account::Signal;
use super::transport::{Service, Transport};
use super::{Endpoint, StartError};

/// How long the answer is waited for.
const DEADLINE: Duration = Duration::from_secs(5);

/// Sends a message with nothing in it, as those of this signal are sent.
///
/// # Errors
/// Why it can't be sent, or what the collector says against it: one line.
pub fn ask(endpoint: &Endpoint, signal: Signal) -> Result<(), String> {
    let service = match signal {
        Signal::Log => Service::Logs,
        Signal::Metric => Service::Metrics,
        Signal::Span => Service::Traces,
    };
    let transport = Transport::new(endpoint, concat!("danube/", env!("CARGO_PKG_VERSION")));
    let transport = transport.map_err(|error: StartError| error.to_string())?;
    // An empty message is a valid one.
    let sent = transport.send(service, &Bytes::new(), DEADLINE);
    sent.map(|_| ()).map_err(|refused| refused.why)
}
