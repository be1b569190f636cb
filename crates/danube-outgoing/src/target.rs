//! An address that passed the check: what it is, and what of it may be shown.

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;

/// Longest address that is taken. Browsers and proxies take some 2,000; what is longer is
/// data in the wrong place.
pub const URL_BYTES_MAX: usize = 2_048;

/// An address that [`crate::Policy::check`] let pass.
///
/// Neither `Debug` nor [`Target::shown`] tells the query, which may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub(crate) uri: Uri,
    pub(crate) https: bool,
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// Whom an address names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

impl Target {
    /// The whole address, with its query: for storing it, never for showing it.
    pub fn whole(&self) -> String {
        self.uri.to_string()
    }

    /// What may be shown of it: scheme, host, port and path.
    pub fn shown(&self) -> String {
        format!("{}{}", self.origin(), self.uri.path())
    }

    /// Its host, as a name or an address.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        }
    }

    /// Its port, also when the address leaves it out.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        let host = match &self.host {
            Host::Name(name) => name.clone(),
            Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
            Host::Address(address) => address.to_string(),
        };
        match (self.https, self.port) {
            (true, 443) | (false, 80) => format!("{scheme}://{host}"),
            (_, port) => format!("{scheme}://{host}:{port}"),
        }
    }

    /// Whether credentials for one are credentials for the other.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        self.https == other.https && self.host == other.host && self.port == other.port
    }

    /// The text of the address that a `Location` of this one means.
    pub(crate) fn join(&self, location: &str) -> String {
        let origin = self.origin();
        let scheme_end = location.find(':').filter(|end| {
            location[..*end]
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        });
        if scheme_end.is_some_and(|it| it > 0) {
            return location.to_owned();
        }
        if location.starts_with("//") {
            let scheme = if self.https { "https:" } else { "http:" };
            return format!("{scheme}{location}");
        }
        if location.starts_with('/') {
            return format!("{origin}{location}");
        }
        let path = self.uri.path();
        if location.starts_with('?') {
            return format!("{origin}{path}{location}");
        }
        let directory = &path[..=path.rfind('/').unwrap_or(0)];
        format!("{origin}{directory}{location}")
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.shown())
    }
}
