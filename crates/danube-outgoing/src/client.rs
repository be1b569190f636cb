//! A call: connects only where the policy lets it, follows redirects by the same policy.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ureq::Agent;
use ureq::http::{Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::{Connector, RustlsConnector, TcpConnector};

use crate::answer::{Answer, Body};
use crate::call::{Call, Failure, Meter};
use crate::names::{Judge, Names, SystemNames};
use crate::policy::{Policy, Refused};
use crate::target::Target;

/// Bounds of a call. [`Limits::default`] is for small answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For all of it: names, redirects, and the body to its end.
    pub total: Duration,
    /// For finding a name's addresses.
    pub resolve: Duration,
    /// For connecting, over all addresses of a name.
    pub connect: Duration,
    /// Bytes of the body.
    pub body_bytes: u64,
    /// Redirects that are followed.
    pub redirects: u32,
}

impl Limits {
    /// A target that hasn't answered by then isn't waited for.
    pub const TOTAL_DEFAULT: Duration = Duration::from_secs(15);
    /// Resolvers give up a server after five seconds themselves.
    pub const RESOLVE_DEFAULT: Duration = Duration::from_secs(5);
    /// Three lost packets.
    pub const CONNECT_DEFAULT: Duration = Duration::from_secs(8);
    /// Nobody reads more of an answer that isn't a download.
    pub const BODY_BYTES_DEFAULT: u64 = 64 * 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: Self::TOTAL_DEFAULT,
            resolve: Self::RESOLVE_DEFAULT,
            connect: Self::CONNECT_DEFAULT,
            body_bytes: Self::BODY_BYTES_DEFAULT,
            redirects: 0,
        }
    }
}

/// What goes along with a request.
#[derive(Clone, Default)]
pub struct Ask {
    /// Headers that any host may see.
    pub headers: Vec<(&'static str, String)>,
    /// Headers for the first host alone: a redirect to another doesn't get them.
    pub credentials: Vec<(&'static str, String)>,
    /// How long and how much.
    pub limits: Limits,
}

/// How a call went.
#[derive(Debug)]
pub struct Done {
    /// Each request that was made, or tried.
    pub calls: Vec<Call>,
    /// What came of it.
    pub outcome: Result<Answer, Failure>,
}

/// Calls addresses from outside. Cheap to clone; blocks the thread that calls.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    judge: Judge,
    policy: Arc<Policy>,
    trusts_nobody: bool,
    meter: Option<Arc<dyn Meter>>,
}

impl Client {
    /// A client that trusts whom the machine trusts.
    pub fn new(policy: Policy, user_agent: &str) -> Self {
        Self::with_names(policy, user_agent, Arc::new(SystemNames))
    }

    /// One that asks `names` where a name leads.
    pub fn with_names(policy: Policy, user_agent: &str, names: Arc<dyn Names>) -> Self {
        let loaded = rustls_native_certs::load_native_certs().certs;
        let roots: Vec<Certificate<'static>> = loaded
            .iter()
            .map(|it| Certificate::from_der(it).to_owned())
            .collect();
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots));
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect is an address from outside like any other: see `get`.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy would connect for us, to wherever a name leads by then.
            .proxy(None)
            // Each call is judged at its own connection.
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .accept_encoding("identity")
            .user_agent(user_agent)
            .tls_config(tls.build())
            .build();
        let connector = ().chain(TcpConnector::default()).chain(RustlsConnector::default());
        let judge = Judge::new(policy.clone(), names);
        Self {
            agent: Agent::with_parts(config, connector, judge.clone()),
            judge,
            policy: Arc::new(policy),
            trusts_nobody: roots.is_empty(),
            meter: None,
        }
    }

    /// The same, with somebody who hears of every request.
    #[must_use]
    pub fn metered(mut self, meter: Arc<dyn Meter>) -> Self {
        self.meter = Some(meter);
        self
    }

    /// The policy it follows.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether a host may be reached at all, for a connection that another program makes.
    /// That one looks the name up again, so this keeps out mistakes and plain tries, and
    /// not who rules over a name's answers.
    ///
    /// # Errors
    /// [`Failure::Refused`] with the reason, or why it isn't known within `deadline`.
    pub fn may_reach(&self, host: &str, deadline: Duration) -> Result<(), Failure> {
        let judged = self.judge.judged(host, deadline);
        judged.map(drop).map_err(Failure::from_ureq)
    }

    /// Gets `target`, following redirects. Answers of any status are answers.
    pub fn get(&self, target: &Target, ask: &Ask) -> Done {
        let began = Instant::now();
        let mut calls = Vec::new();
        let outcome = self.follow(target, ask, began, &mut calls);
        Done { calls, outcome }
    }

    /// Posts `body`. A redirect is an answer like any other.
    pub fn post(&self, target: &Target, ask: &Ask, body: &[u8]) -> Done {
        let left = ask.limits.total;
        let (call, sent) = self.timed("POST", target, || {
            let request = build("POST", target, &[&ask.headers, &ask.credentials])?;
            let request = request.body(body).map_err(|_| Failure::Header)?;
            let request = self.bounded(request, &ask.limits, left);
            self.agent.run(request).map_err(Failure::from_ureq)
        });
        Done {
            calls: vec![call],
            outcome: sent.map(|it| answer(it, &ask.limits)),
        }
    }

    fn follow(
        &self,
        first: &Target,
        ask: &Ask,
        began: Instant,
        calls: &mut Vec<Call>,
    ) -> Result<Answer, Failure> {
        let mut target = first.clone();
        for hop in 0.. {
            let left = ask.limits.total.saturating_sub(began.elapsed());
            let (call, got) = self.timed("GET", &target, || {
                if left.is_zero() {
                    return Err(Failure::Timeout);
                }
                let none = Vec::new();
                let ours = if target.same_origin(first) {
                    &ask.credentials
                } else {
                    &none
                };
                let request = build("GET", &target, &[&ask.headers, ours])?;
                let request = request.body(()).map_err(|_| Failure::Header)?;
                let request = self.bounded(request, &ask.limits, left);
                self.agent.run(request).map_err(Failure::from_ureq)
            });
            calls.push(call);
            let got = got?;
            if ![301, 302, 303, 307, 308].contains(&got.status().as_u16()) {
                return Ok(answer(got, &ask.limits));
            }
            if hop >= ask.limits.redirects {
                return Err(Failure::Redirects(ask.limits.redirects));
            }
            target = self.next(&target, &got)?;
        }
        unreachable!("the number of redirects is limited")
    }

    /// Where a redirect leads, judged like the first address.
    fn next(&self, from: &Target, got: &Response<ureq::Body>) -> Result<Target, Failure> {
        let location = got.headers().get("location").ok_or(Failure::Nowhere)?;
        let location = location.to_str().map_err(|_| Refused::Characters)?;
        let next = self.policy.check(&from.join(location))?;
        if from.https && !next.https {
            return Err(Refused::Downgrade.into());
        }
        Ok(next)
    }

    fn bounded<B: ureq::AsSendBody>(
        &self,
        request: Request<B>,
        limits: &Limits,
        left: Duration,
    ) -> Request<B> {
        self.agent
            .configure_request(request)
            .timeout_global(Some(left))
            .timeout_resolve(Some(limits.resolve))
            .timeout_connect(Some(limits.connect))
            .build()
    }

    fn timed(
        &self,
        method: &'static str,
        target: &Target,
        run: impl FnOnce() -> Result<Response<ureq::Body>, Failure>,
    ) -> (Call, Result<Response<ureq::Body>, Failure>) {
        let (started, began) = (SystemTime::now(), Instant::now());
        let result = if target.https && self.trusts_nobody {
            Err(Failure::NoRoots)
        } else {
            run()
        };
        let call = Call {
            method,
            url: target.shown(),
            host: target.host(),
            port: target.port(),
            status: result.as_ref().ok().map(|it| it.status().as_u16()),
            error: result.as_ref().err().map(Failure::code),
            started,
            took: began.elapsed(),
        };
        if let Some(meter) = &self.meter {
            meter.called(&call);
        }
        (call, result)
    }
}

fn build(
    method: &str,
    target: &Target,
    headers: &[&Vec<(&'static str, String)>],
) -> Result<ureq::http::request::Builder, Failure> {
    let mut request = Request::builder().method(method).uri(target.uri.clone());
    for (name, value) in headers.iter().copied().flatten() {
        request = request.header(*name, value);
    }
    if request.headers_ref().is_none() {
        return Err(Failure::Header);
    }
    Ok(request)
}

fn answer(got: Response<ureq::Body>, limits: &Limits) -> Answer {
    let (head, body) = got.into_parts();
    let body = Body::new(body, limits.body_bytes);
    Answer::new(head.status.as_u16(), head.headers, body)
}
