//! Which IP addresses belong to the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is, when it isn't a public one.
///
/// The lists are those of IANA's registries of special-purpose addresses. IPv6 is the other
/// way round: only what is given out for global unicast is public, and of that not what
/// carries an IPv4 address that somebody else unpacks.
pub(crate) fn special(address: IpAddr) -> Option<&'static str> {
    match canonical(address) {
        IpAddr::V4(it) => special_v4(it),
        IpAddr::V6(it) => special_v6(it),
    }
}

/// The address that is spoken to: an IPv4-mapped one is IPv4 to the kernel.
pub(crate) fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, d] = address.octets();
    match (a, b, c, d) {
        (0, ..) => Some("an address of this host"),
        (127, ..) => Some("a loopback address"),
        (10, ..) | (172, 16..=31, ..) | (192, 168, ..) => Some("a private address"),
        (100, 64..=127, ..) => Some("an address shared by a carrier's customers"),
        (169, 254, ..) => Some("a link-local address, as cloud metadata has"),
        (192, 0, 0, _) | (192, 88, 99, _) | (192, 31, 196, _) | (192, 52, 193, _) => {
            Some("an address reserved for protocols")
        }
        (192, 175, 48, _) | (198, 18..=19, ..) => Some("an address reserved for tests"),
        (192, 0, 2, _) | (198, 51, 100, _) | (203, 0, 113, _) => {
            Some("an address for documentation")
        }
        // Azure's host agent: public by its number, metadata by what it answers.
        (168, 63, 129, 16) => Some("an address of cloud metadata"),
        (224..=239, ..) => Some("a multicast address"),
        (255, 255, 255, 255) => Some("the broadcast address"),
        (240..=255, ..) => Some("a reserved address"),
        _ => None,
    }
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("an address of this host"),
        [0, 0, 0, 0, 0, 0, ..] => Some("an IPv4-compatible address"),
        // A network without IPv4 reaches all of it this way, so what is inside decides.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => special_v4(inside(high, low)),
        [0x64, 0xff9b, ..] => Some("an address of a local translation to IPv4"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xfec0..=0xfeff, ..] => Some("a site-local address"),
        [0xfc00..=0xfdff, ..] => Some("a private address"),
        [0x2001, 0, ..] => Some("a Teredo address"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("an address for documentation"),
        [0x2001, 0..=0x1ff, ..] => Some("an address reserved for protocols"),
        [0x2002, ..] => Some("a 6to4 address"),
        // ISATAP: the kernel of a host with such a tunnel speaks to the IPv4 address inside.
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => Some("an ISATAP address"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("outside of what is given out for the internet"),
    }
}

fn inside(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_named() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:db8::1",
            "2001:10::1",
            "2001:20::1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::1",
            "3fff::1",
            "4000::1",
            "100::1",
            "5f00::1",
            "2600::5efe:7f00:1",
            "2600::200:5efe:a9fe:a9fe",
        ] {
            assert!(special(text.parse().unwrap()).is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_public_passes() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "93.184.215.14",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.167.1.1",
            "192.169.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "2400:cb00::1",
        ] {
            assert_eq!(special(text.parse().unwrap()), None, "{text}");
        }
    }
}
