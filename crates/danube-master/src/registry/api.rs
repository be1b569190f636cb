//! Calls of a registry's HTTP API, version 2. Each may block for [`CALL_DEADLINE`].

use std::time::Duration;

use danube_telemetry::outgoing::{self, NoRoots};
use ureq::Agent;
use ureq::http::header::AUTHORIZATION;

use crate::settings::RegistryAddress;

/// How long a call may take: a registry that is asked for little answers in milliseconds.
const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// Who calls.
const USER_AGENT: &str = concat!("danube/", env!("CARGO_PKG_VERSION"));

/// A registry that can be called.
#[derive(Clone)]
pub(crate) struct Api {
    address: RegistryAddress,
    /// Or why there is none.
    agent: Result<Agent, NoRoots>,
}

impl Api {
    pub(crate) fn new(address: &RegistryAddress) -> Self {
        Self {
            agent: outgoing::agent(&address.url, USER_AGENT),
            address: address.clone(),
        }
    }

    /// Whether it is there: `GET /v2/`. One that wants a login which nobody gave us is there.
    pub(crate) fn answers(&self) -> Result<(), String> {
        let url = &self.address.url;
        let agent = self.agent.as_ref().map_err(ToString::to_string)?;
        let mut request = agent.get(format!("{url}/v2/"));
        if let Some(login) = &self.address.authorization {
            request = request.header(AUTHORIZATION, login);
        }
        let asked = request
            .config()
            .timeout_global(Some(CALL_DEADLINE))
            .build()
            .call();
        let status = asked.map_err(|error| format!("{url}: {error}"))?.status();
        match status.as_u16() {
            200 => Ok(()),
            401 if self.address.authorization.is_none() => Ok(()),
            401 | 403 => Err(format!("{url} refuses the login of registry.url")),
            other => Err(format!(
                "{url} answers GET /v2/ with status {other}; is it a registry?"
            )),
        }
    }
}
