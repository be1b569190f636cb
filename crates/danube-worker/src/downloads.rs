//! How sources are downloaded: by the client that can't be turned against the network that
//! this worker stands in.

use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use danube_outgoing::{Ask, Call, Client, Failure, Limits, Meter, Policy, Rule};
use danube_signals::{Outcome, Signals};
use danube_source::{Auth, Download, DownloadError};

/// How long it may take to learn where a git server's name leads.
const RESOLVE_MAX: Duration = Duration::from_secs(10);

/// Downloads for the fetcher.
pub(crate) struct Downloads {
    client: Client,
}

impl Downloads {
    /// What isn't public is reached only where the operator allows it. Plain `http` is,
    /// because what comes over it must have the checksum that the job names.
    pub(crate) fn new(allow_private: Vec<Rule>, signals: &Signals) -> Self {
        let policy = Policy {
            allow_private,
            allow_http: true,
        };
        let agent = concat!("danube/", env!("CARGO_PKG_VERSION"));
        Self {
            client: Client::new(policy, agent).metered(Arc::new(HttpCalls(signals.clone()))),
        }
    }
}

/// Counts requests to addresses from outside.
pub struct HttpCalls(pub Signals);

impl fmt::Debug for HttpCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpCalls")
    }
}

impl Meter for HttpCalls {
    fn called(&self, call: &Call) {
        let outcome = match call.status {
            Some(_) => Outcome::Success,
            None => Outcome::Error,
        };
        let duration = self.0.http_client_request_duration_seconds.at(outcome);
        duration.observe_duration(call.took);
    }
}

impl Download for Downloads {
    fn open(
        &self,
        url: &str,
        auth: Option<&Auth>,
        deadline: Instant,
    ) -> Result<Box<dyn Read + Send>, DownloadError> {
        let target = self.client.policy().check(url);
        let target = target.map_err(|it| DownloadError::Other(format!("the address {it}")))?;
        let ask = Ask {
            headers: Vec::new(),
            credentials: auth
                .map(|it| ("authorization", header(it)))
                .into_iter()
                .collect(),
            limits: Limits {
                total: deadline.saturating_duration_since(Instant::now()),
                // Whoever unpacks it has limits of its own.
                body_bytes: u64::MAX,
                ..Limits::default()
            },
        };
        let answer = self.client.get(&target, &ask).outcome;
        let answer = answer.map_err(|it| DownloadError::Other(it.to_string()))?;
        match answer.status {
            200 => Ok(Box::new(answer.body)),
            status => Err(DownloadError::Status(status)),
        }
    }

    fn may_reach(&self, host: &str, _port: u16, deadline: Instant) -> Result<(), String> {
        let left = deadline.saturating_duration_since(Instant::now());
        let judged = self.client.may_reach(host, left.min(RESOLVE_MAX));
        judged.map_err(|error| match error {
            Failure::Refused(why) => format!(
                "the repository's host {why}; the operator lists others in `sources.allow_private`"
            ),
            other => other.to_string(),
        })
    }
}

fn header(auth: &Auth) -> String {
    match auth {
        Auth::Basic { user, password } => {
            let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
            format!("Basic {pair}")
        }
        Auth::Bearer(token) => format!("Bearer {}", token.expose()),
    }
}
