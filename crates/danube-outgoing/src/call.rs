//! What is known of a call afterwards, for whoever makes spans, and how calls fail.

use std::io;
use std::time::{Duration, SystemTime};

use crate::names::NoAddress;
use crate::policy::Refused;

/// One request and its answer's head, or why there was none. Plain data; nothing in it is
/// secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The address without its query.
    pub url: String,
    /// The host that was called.
    pub host: String,
    /// And its port.
    pub port: u16,
    /// The answer's status, when there was an answer.
    pub status: Option<u16>,
    /// [`Failure::code`], when there was none.
    pub error: Option<&'static str>,
    /// When it began.
    pub started: SystemTime,
    /// How long it took, to the head of the answer.
    pub took: Duration,
}

/// Hears of every request that is made, or tried: the one place where calls are counted.
pub trait Meter: std::fmt::Debug + Send + Sync {
    /// A request has its answer's head, or none.
    fn called(&self, call: &Call);
}

/// Why there is no answer. The texts hold no address and no answer of the other side.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The address, or where it leads, isn't called.
    #[error("the address {0}")]
    Refused(#[from] Refused),
    /// Nobody knows the name.
    #[error("the host's name leads nowhere")]
    NameNotFound,
    /// Too many lookups of names are waiting.
    #[error("too many names are being looked up at once")]
    Busy,
    /// A deadline passed.
    #[error("the host didn't answer in time")]
    Timeout,
    /// The connection wasn't made, or broke.
    #[error("the connection failed: {0}")]
    Connection(io::ErrorKind),
    /// No secure connection could be made.
    #[error("no secure connection could be made: {0}")]
    Tls(String),
    /// This machine trusts nobody.
    #[error("this machine has no root certificates; install ca-certificates")]
    NoRoots,
    /// What came isn't HTTP.
    #[error("the answer isn't valid HTTP")]
    Protocol,
    /// A redirect too many, or one that says no address.
    #[error("the host redirects more than {0} times")]
    Redirects(u32),
    /// A redirect that says no address.
    #[error("the host redirects to nowhere")]
    Nowhere,
    /// A header that can't be sent.
    #[error("a header holds a character that can't be sent")]
    Header,
}

impl Failure {
    /// A short name for logs, spans and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(why) => why.code(),
            Self::NameNotFound => "name_not_found",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::Connection(io::ErrorKind::ConnectionRefused) => "connection_refused",
            Self::Connection(_) => "connection_failed",
            Self::Tls(_) | Self::NoRoots => "tls",
            Self::Protocol => "protocol",
            Self::Redirects(_) | Self::Nowhere => "redirect",
            Self::Header => "header",
        }
    }

    pub(crate) fn from_ureq(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Other(inner) => match inner.downcast::<NoAddress>() {
                Ok(inner) => match *inner {
                    NoAddress::Refused(why) => Self::Refused(why),
                    NoAddress::Busy => Self::Busy,
                },
                Err(_) => Self::Connection(io::ErrorKind::Other),
            },
            ureq::Error::HostNotFound => Self::NameNotFound,
            ureq::Error::Timeout(_) => Self::Timeout,
            ureq::Error::Io(error) => Self::from_io(&error),
            ureq::Error::Rustls(error) => Self::Tls(error.to_string()),
            ureq::Error::Tls(what) => Self::Tls(what.to_owned()),
            ureq::Error::TlsRequired => Self::Tls("the host speaks no TLS".to_owned()),
            ureq::Error::ConnectionFailed => Self::Connection(io::ErrorKind::Other),
            ureq::Error::Http(_) => Self::Header,
            _ => Self::Protocol,
        }
    }

    /// rustls tells its errors as errors of the connection.
    fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::Timeout,
            io::ErrorKind::InvalidData => match error.get_ref() {
                Some(inner) => Self::Tls(inner.to_string()),
                None => Self::Protocol,
            },
            kind => Self::Connection(kind),
        }
    }
}
