//! What the operator allows although it isn't public: networks and hosts.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::address::canonical;

/// One allowance: a network (`10.1.0.0/16`, `fd00::/8`), an address, or a host's name
/// (`hooks.internal`, `*.corp.example`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Network { base: IpAddr, bits: u8 },
    Host(String),
    Below(String),
}

/// A text that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a network (`10.1.0.0/16`), an address, or a host (`hooks.internal`, `*.corp.example`)"
)]
pub struct BadRule;

impl Rule {
    /// Whether it allows this address, whatever name led there.
    pub(crate) fn allows_address(&self, address: IpAddr) -> bool {
        let Kind::Network { base, bits } = &self.0 else {
            return false;
        };
        match (base, canonical(address)) {
            (IpAddr::V4(base), IpAddr::V4(it)) => {
                same(base.to_bits().into(), it.to_bits().into(), 32 - bits)
            }
            (IpAddr::V6(base), IpAddr::V6(it)) => same(base.to_bits(), it.to_bits(), 128 - bits),
            _ => false,
        }
    }

    /// Whether it allows this host, wherever its name leads.
    pub(crate) fn allows_host(&self, host: &str) -> bool {
        match &self.0 {
            Kind::Network { .. } => false,
            Kind::Host(name) => name == host,
            Kind::Below(end) => host
                .strip_suffix(end.as_str())
                .is_some_and(|it| it.len() > 1 && it.ends_with('.')),
        }
    }
}

/// Whether both are the same without their last `ignored` bits.
fn same(one: u128, other: u128, ignored: u8) -> bool {
    (one ^ other).checked_shr(ignored.into()).unwrap_or(0) == 0
}

impl FromStr for Rule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        if let Ok(base) = address.parse::<IpAddr>() {
            let base = canonical(base);
            let most = if base.is_ipv4() { 32 } else { 128 };
            let bits = match bits {
                Some(text) => text.parse().ok().filter(|it| *it <= most).ok_or(BadRule)?,
                None => most,
            };
            return Ok(Self(Kind::Network { base, bits }));
        }
        let lower = text.to_ascii_lowercase();
        let kind = match lower.strip_prefix("*.") {
            Some(end) => is_name(end).then(|| Kind::Below(end.to_owned())),
            None => is_name(&lower).then(|| Kind::Host(lower.clone())),
        };
        kind.map(Self).ok_or(BadRule)
    }
}

/// Whether a text is a host's name as an address holds it: letters, digits, `-` and `_`
/// between dots, and not a number, which would be an address in disguise.
pub(crate) fn is_name(text: &str) -> bool {
    let label = |it: &str| {
        (1..=63).contains(&it.len())
            && it
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !it.starts_with('-')
            && !it.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label) && !ends_in_number(text)
}

/// Whether a resolver may take the text for an IPv4 address: its last part is a number in
/// decimal, octal or hexadecimal.
pub(crate) fn ends_in_number(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or(text);
    let hex = last
        .strip_prefix("0x")
        .or_else(|| last.strip_prefix("0X"))
        .is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hex || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Network { base, bits } => write!(f, "{base}/{bits}"),
            Kind::Host(name) => f.write_str(name),
            Kind::Below(end) => write!(f, "*.{end}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_allows_what_is_in_it() {
        let net = rule("10.1.0.0/16");
        assert!(net.allows_address("10.1.255.1".parse().unwrap()));
        assert!(net.allows_address("::ffff:10.1.0.1".parse().unwrap()));
        assert!(!net.allows_address("10.2.0.1".parse().unwrap()));
        assert!(!net.allows_address("::10.1.0.1".parse().unwrap()));
        assert!(rule("0.0.0.0/0").allows_address("192.168.0.1".parse().unwrap()));
        assert!(rule("fd00::/8").allows_address("fdff::1".parse().unwrap()));
        assert!(rule("::/0").allows_address("fe80::1".parse().unwrap()));
        assert!(!rule("127.0.0.1").allows_address("127.0.0.2".parse().unwrap()));
    }

    #[test]
    fn a_host_allows_its_name_and_a_star_what_is_below() {
        assert!(rule("Hooks.Internal").allows_host("hooks.internal"));
        assert!(!rule("hooks.internal").allows_host("a.hooks.internal"));
        let below = rule("*.corp.example");
        assert!(below.allows_host("a.corp.example") && below.allows_host("a.b.corp.example"));
        for other in ["corp.example", ".corp.example", "evilcorp.example"] {
            assert!(!below.allows_host(other), "{other}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/-1",
            "http://a",
            "a b",
            "*",
            "*.",
            "a/8",
            "a..b",
            "0x7f.1",
            "127.1",
            "*.1",
            "-a",
        ] {
            assert_eq!(text.parse::<Rule>(), Err(BadRule), "{text}");
        }
    }

    #[test]
    fn a_rule_is_shown_as_it_is_written() {
        for text in [
            "10.1.0.0/16",
            "fd00::/8",
            "hooks.internal",
            "*.corp.example",
        ] {
            assert_eq!(rule(text).to_string(), text);
        }
    }
}
