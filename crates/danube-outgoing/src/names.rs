//! From a host's name to IP addresses: once a call, with a deadline, and each one judged.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::policy::{Policy, Refused};

/// Lookups that may wait at once. The system's resolver can't be interrupted, so each that
/// passed its deadline still holds a thread for as long as it likes; a name server that is
/// silent must not fill the process with them.
const LOOKUPS_MAX: usize = 32;

/// Addresses of one name that are looked at; ureq holds no more.
const ADDRESSES_MAX: usize = 16;

/// Who knows where names lead.
pub trait Names: Debug + Send + Sync + 'static {
    /// All addresses of `host`. May take as long as it likes.
    ///
    /// # Errors
    /// When there is no answer.
    fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The names that this machine knows.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNames;

impl Names for SystemNames {
    fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|it| it.ip()).collect())
    }
}

/// Resolves for ureq: what it returns is all that ureq connects to.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    policy: Policy,
    names: Arc<dyn Names>,
    waiting: Arc<AtomicUsize>,
}

/// Why a name has no address to connect to; travels through ureq as its `Other`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAddress {
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("too many names are being looked up")]
    Busy,
}

impl Judge {
    pub(crate) fn new(policy: Policy, names: Arc<dyn Names>) -> Self {
        Self {
            policy,
            names,
            waiting: Arc::default(),
        }
    }

    /// Every address of the name must be good: one that leads outside and inside at once is
    /// how a name is made to pass a check.
    pub(crate) fn judged(
        &self,
        host: &str,
        deadline: Duration,
    ) -> Result<Vec<IpAddr>, ureq::Error> {
        let literal = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        if let Ok(address) = literal.unwrap_or(host).parse::<IpAddr>() {
            self.policy.check_address(address).map_err(refused)?;
            return Ok(vec![address]);
        }
        let found = self.look_up(host, deadline)?;
        if !self.policy.allows_name(host) {
            for address in &found {
                self.policy.check_address(*address).map_err(refused)?;
            }
        }
        Ok(found)
    }

    fn look_up(&self, host: &str, deadline: Duration) -> Result<Vec<IpAddr>, ureq::Error> {
        let place = Place::take(&self.waiting).ok_or_else(|| other(NoAddress::Busy))?;
        let (tell, told) = mpsc::sync_channel(1);
        let (names, host) = (Arc::clone(&self.names), host.to_owned());
        let look = move || {
            let _ = tell.send(names.look_up(&host));
            drop(place);
        };
        thread::Builder::new()
            .name("name-lookup".to_owned())
            .spawn(look)
            .map_err(ureq::Error::Io)?;
        match told.recv_timeout(deadline) {
            Ok(Ok(found)) if !found.is_empty() => Ok(found),
            Ok(_) | Err(RecvTimeoutError::Disconnected) => Err(ureq::Error::HostNotFound),
            Err(RecvTimeoutError::Timeout) => Err(ureq::Error::Timeout(ureq::Timeout::Resolve)),
        }
    }
}

impl Resolver for Judge {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let mut result = self.empty();
        for address in self
            .judged(host, *timeout.after)?
            .into_iter()
            .take(ADDRESSES_MAX)
        {
            result.push(SocketAddr::new(address, port));
        }
        Ok(result)
    }
}

fn refused(why: Refused) -> ureq::Error {
    other(NoAddress::Refused(why))
}

fn other(why: NoAddress) -> ureq::Error {
    ureq::Error::Other(Box::new(why))
}

/// A place among the lookups that wait, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>) -> Option<Self> {
        if waiting.fetch_add(1, Ordering::AcqRel) < LOOKUPS_MAX {
            return Some(Self(Arc::clone(waiting)));
        }
        waiting.fetch_sub(1, Ordering::AcqRel);
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
