//! Which addresses may be called: the check of the text, and that of an IP address.

use std::net::{IpAddr, Ipv6Addr};

use ureq::http::Uri;

use crate::address::{canonical, special};
use crate::rule::{Rule, ends_in_number, is_name};
use crate::target::{Host, Target, URL_BYTES_MAX};

/// Ports below this belong to services that aren't HTTP (mail, shells, databases of the
/// system): a request to one is a message to somebody who reads it differently.
const PORT_FREE_MIN: u16 = 1_024;

/// What the operator allows beyond the public internet over `https`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Networks and hosts that may be called although they aren't public.
    pub allow_private: Vec<Rule>,
    /// Also `http`, where whoever is on the way reads along.
    pub allow_http: bool,
}

/// Why an address isn't called. The texts go to whoever wrote the address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is longer than [`URL_BYTES_MAX`].
    #[error("is longer than {URL_BYTES_MAX} bytes")]
    Long,
    /// It is no address.
    #[error("isn't an address like `https://host/path`")]
    Malformed,
    /// It holds what an address holds only in encoded form.
    #[error(
        "holds a character that has to be encoded, such as a space, a quote, or one outside of ASCII (a host's name is written as `xn--…` then)"
    )]
    Characters,
    /// It has another scheme.
    #[error("must begin with `https://`")]
    Scheme,
    /// It has a scheme that the operator doesn't allow.
    #[error("must begin with `https://`: plain `http` isn't allowed here")]
    Http,
    /// A user or a password stands before the host.
    #[error("must not hold a user or password")]
    Userinfo,
    /// The host is no name and no address in the usual notation.
    #[error(
        "names no host: only names and addresses in their usual notation (`192.0.2.1`, `[2001:db8::1]`) are taken"
    )]
    Host,
    /// The port is one of another protocol.
    #[error(
        "names port {0}, where no web server is: 443, 80, and ports from {PORT_FREE_MIN} are taken"
    )]
    Port(u16),
    /// The host is inside.
    #[error("leads to {what}, and only the public internet may be called")]
    Private {
        /// What the address is.
        what: &'static str,
    },
    /// A redirect from `https` to `http`.
    #[error("redirects from https to http")]
    Downgrade,
}

impl Refused {
    /// A short name for logs and spans.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Long | Self::Malformed | Self::Characters | Self::Host => "address_malformed",
            Self::Scheme | Self::Http | Self::Downgrade => "address_scheme",
            Self::Userinfo => "address_userinfo",
            Self::Port(_) => "address_port",
            Self::Private { .. } => "address_private",
        }
    }
}

impl Policy {
    /// Judges an address by its text alone. A name passes: where it leads is judged when it
    /// is called.
    ///
    /// # Errors
    /// [`Refused`] with the reason, which never repeats the address.
    pub fn check(&self, url: &str) -> Result<Target, Refused> {
        if url.len() > URL_BYTES_MAX {
            return Err(Refused::Long);
        }
        let odd = |byte: u8| !byte.is_ascii_graphic() || b"\\\"<>^`{|}".contains(&byte);
        if url.bytes().any(odd) {
            return Err(Refused::Characters);
        }
        let (scheme, rest) = url.split_once("://").ok_or(Refused::Malformed)?;
        let https = scheme.eq_ignore_ascii_case("https");
        if !https && !scheme.eq_ignore_ascii_case("http") {
            return Err(Refused::Scheme);
        }
        if !https && !self.allow_http {
            return Err(Refused::Http);
        }
        // Cut by ourselves and not by the parser below: both must find the same host.
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        if authority.contains('@') {
            return Err(Refused::Userinfo);
        }
        let (host, port) = split(authority)?;
        let port = match port {
            None if https => 443,
            None => 80,
            Some(text) => number(text)?,
        };
        let host = read_host(host)?;
        let uri = rebuild(https, &host, port, &rest[authority.len()..])?;
        let target = Target {
            uri,
            https,
            host,
            port,
        };
        self.check_host(&target)?;
        Ok(target)
    }

    /// Judges the host, as far as its text tells.
    fn check_host(&self, target: &Target) -> Result<(), Refused> {
        let allowed = self.allows_by_text(target);
        if target.port == 0
            || (target.port < PORT_FREE_MIN && !allowed && ![80, 443].contains(&target.port))
        {
            return Err(Refused::Port(target.port));
        }
        if allowed {
            return Ok(());
        }
        match &target.host {
            Host::Name(name) if is_local(name) => Err(Refused::Private { what: "this host" }),
            Host::Name(_) => Ok(()),
            Host::Address(address) => self.check_address(*address),
        }
    }

    fn allows_by_text(&self, target: &Target) -> bool {
        match &target.host {
            Host::Name(name) => self.allows_name(name),
            Host::Address(address) => self
                .allow_private
                .iter()
                .any(|it| it.allows_address(*address)),
        }
    }

    /// Whether the operator trusts wherever this name leads.
    pub(crate) fn allows_name(&self, name: &str) -> bool {
        self.allow_private.iter().any(|it| it.allows_host(name))
    }

    /// Judges an IP address.
    pub(crate) fn check_address(&self, address: IpAddr) -> Result<(), Refused> {
        match special(address) {
            Some(what)
                if !self
                    .allow_private
                    .iter()
                    .any(|it| it.allows_address(address)) =>
            {
                Err(Refused::Private { what })
            }
            _ => Ok(()),
        }
    }
}

/// Names that mean the machine itself, whatever a resolver says.
fn is_local(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    last == "localhost"
        || last == "localdomain"
        || name == "ip6-localhost"
        || name == "ip6-loopback"
}

/// Host and port of an authority without userinfo.
fn split(authority: &str) -> Result<(&str, Option<&str>), Refused> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or(Refused::Host)?;
        let host = &authority[..inside.len() + 2];
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(Refused::Host),
        };
    }
    Ok(match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    })
}

fn number(text: &str) -> Result<u16, Refused> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refused::Malformed);
    }
    text.parse().map_err(|_| Refused::Malformed)
}

/// Takes addresses in their one usual notation only: `0x7f.1`, `2130706433` and `0177.0.0.1`
/// mean different hosts to different programs, and are no names either.
fn read_host(text: &str) -> Result<Host, Refused> {
    if let Some(inside) = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        // A zone (`%eth0`) picks an interface of this machine.
        let address: Ipv6Addr = inside.parse().map_err(|_| Refused::Host)?;
        return Ok(Host::Address(canonical(address.into())));
    }
    // The root's dot makes another text of the same name.
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if ends_in_number(&name) {
        let address = name.parse().map_err(|_| Refused::Host)?;
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    if is_name(&name) {
        Ok(Host::Name(name))
    } else {
        Err(Refused::Host)
    }
}

/// The address anew from what was judged, so that what is called can't be anything else.
/// The fragment is for browsers and isn't sent.
fn rebuild(https: bool, host: &Host, port: u16, rest: &str) -> Result<Uri, Refused> {
    let rest = rest.split('#').next().unwrap_or(rest);
    let scheme = if https { "https" } else { "http" };
    let host = match host {
        Host::Name(name) => name.clone(),
        Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
        Host::Address(address) => address.to_string(),
    };
    let authority = match (https, port) {
        (true, 443) | (false, 80) => host,
        _ => format!("{host}:{port}"),
    };
    let slash = if rest.starts_with('/') { "" } else { "/" };
    Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(format!("{slash}{rest}"))
        .build()
        .map_err(|_| Refused::Malformed)
}

#[cfg(test)]
mod tests;
