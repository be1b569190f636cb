//! Hostile addresses, and the ordinary ones beside them.

use super::*;

fn open() -> Policy {
    Policy {
        allow_http: true,
        ..Policy::default()
    }
}

/// Hosts that some program takes for an inner one, or that are none.
const HOSTILE: &[&str] = &[
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0x7f000001",
    "0x7f.0x0.0x0.0x1",
    "0x7f.1",
    "0X7F.1",
    "127.0.0.1.",
    "127.0.0.01",
    "0",
    "0.0.0.0",
    "0x",
    "00000000000000000000177.1",
    "10.0.0.1",
    "169.254.169.254",
    "2852039166",
    "0xA9FEA9FE",
    "0251.0376.0251.0376",
    "100.100.100.200",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0000:0000:0000:0000:0000:ffff:7f00:0001]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
    "[2001:0:1::1]",
    "[fe80::1%eth0]",
    "[fe80::1%25lo]",
    "[fd00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[::ffff:a9fe:a9fe]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "localhost.localdomain",
    "ip6-localhost",
    "①②⑦.0.0.1",
    "127。0。0。1",
    "ｌocalhost",
    "bücher.example",
    "%31%32%37.0.0.1",
    "127.0.0.1%00.example.com",
    "127.0.0.1%2f@example.com",
    "a..b",
    ".",
    "",
    "-",
    "[]",
    "[::1",
    "::1",
    "1.2.3.4.5",
    "256.1.1.1",
    "1.2.3",
    "example.com\\.evil",
    "exa mple.com",
];

#[test]
fn no_notation_of_an_inner_address_passes() {
    for host in HOSTILE {
        for scheme in ["https", "http", "HTTPS"] {
            let url = format!("{scheme}://{host}/x");
            assert!(open().check(&url).is_err(), "{url}");
            let url = format!("{scheme}://{host}:8443/x");
            assert!(open().check(&url).is_err(), "{url}");
        }
    }
}

#[test]
fn each_reason_is_told() {
    let why = |url: &str| Policy::default().check(url).unwrap_err();
    assert_eq!(why("http://example.com"), Refused::Http);
    for url in [
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://a",
        "javascript://a",
    ] {
        assert_eq!(why(url), Refused::Scheme, "{url}");
    }
    for url in [
        "https:example.com",
        "https:/example.com",
        "//example.com",
        "example.com",
        "",
    ] {
        assert_eq!(why(url), Refused::Malformed, "{url}");
    }
    for url in [
        "https://user@example.com/",
        "https://user:pw@example.com/",
        "https://@example.com/",
        "https://example.com@127.0.0.1/",
        "https://127.0.0.1@example.com/",
    ] {
        assert_eq!(why(url), Refused::Userinfo, "{url}");
    }
    assert_eq!(why("https://example.com:22/"), Refused::Port(22));
    assert_eq!(why("https://example.com:0/"), Refused::Port(0));
    for url in [
        "https://example.com:/",
        "https://example.com:65536/",
        "https://example.com:+443/",
        "https://example.com:443:443/",
    ] {
        assert_eq!(why(url), Refused::Malformed, "{url}");
    }
    for url in [
        "https://example.com/a\r\nHost: b",
        "https://example.com/\t",
        "https://example.com/ä",
        "https://example.com/a b",
    ] {
        assert_eq!(why(url), Refused::Characters, "{url}");
    }
    assert_eq!(
        why(&format!(
            "https://example.com/{}",
            "a".repeat(URL_BYTES_MAX)
        )),
        Refused::Long
    );
    assert!(matches!(
        why("https://192.168.0.1/"),
        Refused::Private { .. }
    ));
}

#[test]
fn ordinary_addresses_pass_and_are_shown_without_their_query() {
    for (url, shown) in [
        ("https://example.com", "https://example.com/"),
        ("https://example.com?token=s3cret", "https://example.com/"),
        (
            "https://Example.COM.:443/a/b?token=s3cret#frag",
            "https://example.com/a/b",
        ),
        (
            "https://example.com:8443/@user:x",
            "https://example.com:8443/@user:x",
        ),
        ("https://1.1.1.1/dns", "https://1.1.1.1/dns"),
        ("https://[2606:4700:4700:0::1111]:444/", ""),
        (
            "https://[2606:4700:4700:0::1111]:4443/",
            "https://[2606:4700:4700::1111]:4443/",
        ),
        (
            "https://xn--bcher-kva.example/",
            "https://xn--bcher-kva.example/",
        ),
        (
            "https://my_host.example/hook",
            "https://my_host.example/hook",
        ),
    ] {
        match Policy::default().check(url) {
            Ok(target) => {
                assert_eq!(target.shown(), shown);
                assert!(!format!("{target:?}").contains("s3cret"));
            }
            Err(why) => assert!(shown.is_empty(), "{url}: {why}"),
        }
    }
}

#[test]
fn what_the_operator_allows_passes_and_nothing_else() {
    let policy = Policy {
        allow_private: ["127.0.0.0/8", "hooks.internal", "localhost"]
            .map(|it| it.parse().unwrap())
            .into(),
        allow_http: true,
    };
    for url in [
        "http://127.0.0.1:81/",
        "http://[::ffff:127.0.0.1]/",
        "http://hooks.internal:25/",
        "http://localhost:3000/",
    ] {
        policy
            .check(url)
            .unwrap_or_else(|why| panic!("{url}: {why}"));
    }
    for url in [
        "http://127.1/",
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://a.localhost/",
        "http://127.0.0.1:0/",
    ] {
        assert!(policy.check(url).is_err(), "{url}");
    }
}

#[test]
fn a_location_is_read_as_it_is_meant() {
    let target = Policy::default()
        .check("https://example.com:8443/a/b?q=1")
        .unwrap();
    for (location, expected) in [
        ("https://other.example/x", "https://other.example/x"),
        ("//other.example/x", "https://other.example/x"),
        ("/x?y", "https://example.com:8443/x?y"),
        ("x", "https://example.com:8443/a/x"),
        ("?z", "https://example.com:8443/a/b?z"),
        ("file:///etc/passwd", "file:///etc/passwd"),
        ("x/y:z", "https://example.com:8443/a/x/y:z"),
    ] {
        assert_eq!(target.join(location), expected);
    }
}
