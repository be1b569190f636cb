//! The client for what the server calls by itself: a collector, an Alertmanager. All
//! of them trust and reach the same, whoever wrote the call.

use std::fmt;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The machine trusts nobody, so no `https` address can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoots;

impl fmt::Display for NoRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this machine has no root certificates; install ca-certificates")
    }
}

impl std::error::Error for NoRoots {}

/// A client for `url`. It trusts whom the machine trusts, so that a certificate of the
/// operator's own authority is good, and goes straight to where the settings say: a proxy
/// that the environment names is for somebody else. Without a deadline: each call has
/// its own.
///
/// # Errors
/// [`NoRoots`] for an `https` address on a machine without root certificates.
pub fn agent(url: &str, user_agent: &str) -> Result<Agent, NoRoots> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        // A redirect would take the headers, and our secrets in them, elsewhere.
        .max_redirects(0)
        .proxy(None)
        .user_agent(user_agent);
    if url.starts_with("https://") {
        let loaded = rustls_native_certs::load_native_certs();
        let roots: Vec<Certificate<'static>> = loaded
            .certs
            .iter()
            .map(|it| Certificate::from_der(it).to_owned())
            .collect();
        if roots.is_empty() {
            return Err(NoRoots);
        }
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots));
        config = config.tls_config(tls.build());
    }
    Ok(config.build().into())
}
