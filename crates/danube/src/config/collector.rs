//! The address of a collector and the headers it wants: both may hold secrets, so
//! neither is ever shown whole.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What stands for something that isn't shown.
pub(super) const HIDDEN: &str = "***";

/// Most headers: a collector wants a key and a tenant.
const HEADERS_MAX: usize = 16;

/// Longest header, so that a slip (a whole file, for one) is noticed.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// Headers that the export makes itself.
const OURS: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "user-agent",
];

/// An address that may name a user and a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Without them.
    pub(crate) url: String,
    /// `user:password`, as it was written.
    login: Option<String>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Address {
    /// `http(s)://[user:password@]host[:port][/path]`, nothing else.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (host_and_path, login) = match rest.rsplit_once('@') {
            Some((login, rest)) => (rest, Some(login)),
            None => (rest, None),
        };
        let login_is_whole = login.is_none_or(|it| {
            let parts = it.split_once(':');
            parts.is_some_and(|(user, password)| {
                !user.is_empty() && !password.is_empty() && !it.contains(['/', '@'])
            }) && it.bytes().all(|byte| byte.is_ascii_graphic())
                && decoded(it).is_some()
        });
        let url = super::value::url(&format!("{scheme}://{host_and_path}"))?;
        login_is_whole.then(|| Self {
            url,
            login: login.map(str::to_owned),
        })
    }

    /// Fit for everybody's eyes.
    pub(super) fn shown(&self) -> String {
        match (&self.login, self.url.split_once("://")) {
            (Some(_), Some((scheme, rest))) => format!("{scheme}://{HIDDEN}@{rest}"),
            _ => self.url.clone(),
        }
    }

    /// Whether there is more than a host and a port.
    pub(super) fn has_path(&self) -> bool {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        rest.contains('/')
    }

    pub(super) fn has_login(&self) -> bool {
        self.login.is_some()
    }

    /// The header that says who we are, for an address with a user.
    pub(super) fn authorization(&self) -> Option<Header> {
        let login = decoded(self.login.as_deref()?)?;
        Some(Header {
            name: "authorization".to_owned(),
            value: format!("Basic {}", STANDARD.encode(login)),
        })
    }

    /// What must not be seen: the password as written and as meant.
    pub(super) fn secrets(&self) -> Vec<String> {
        let Some((_, written)) = self.login.as_deref().and_then(|it| it.split_once(':')) else {
            return Vec::new();
        };
        let meant = decoded(written).and_then(|it| String::from_utf8(it).ok());
        let mut all = vec![written.to_owned()];
        all.extend(meant.filter(|it| it != written));
        all
    }
}

/// `%41` is `A`; none for what is broken.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        if !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
            return None;
        }
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    Some(out)
}

/// A header and its value, which may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Lower case.
    pub(crate) name: String,
    /// Not empty.
    pub(crate) value: String,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Header {
    /// `name: value`.
    fn read(text: &str) -> Option<Self> {
        let (name, value) = text.split_once(':')?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let known = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
        let is_name = !name.is_empty() && name.bytes().all(known);
        let is_ours = OURS.contains(&name.as_str()) || name.starts_with("grpc-");
        let is_value = !value.is_empty()
            && value != HIDDEN
            && value.bytes().all(|it| it == b' ' || it.is_ascii_graphic());
        let fits = is_name && !is_ours && is_value && text.len() <= HEADER_BYTES_MAX;
        fits.then(|| Self {
            name,
            value: value.to_owned(),
        })
    }

    /// Fit for everybody's eyes.
    pub(super) fn shown(&self) -> String {
        format!("{}: {HIDDEN}", self.name)
    }

    /// What must not be seen: the value, and without the scheme before it.
    pub(super) fn secrets(&self) -> Vec<String> {
        let mut all = vec![self.value.clone()];
        if let Some((_, token)) = self.value.split_once(' ') {
            all.push(token.trim().to_owned());
        }
        all
    }
}

/// Several headers; each name at most once.
pub(super) fn headers<'a>(texts: impl Iterator<Item = &'a str>) -> Option<Vec<Header>> {
    let all: Vec<Header> = texts.map(Header::read).collect::<Option<_>>()?;
    let names_differ = all
        .iter()
        .enumerate()
        .all(|(at, it)| all[..at].iter().all(|before| before.name != it.name));
    (names_differ && all.len() <= HEADERS_MAX).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_name_a_user_and_never_shows_the_password() {
        let it = Address::read("https://me:p%40ss@otel.example.org:4318/in").unwrap();
        assert_eq!(it.url, "https://otel.example.org:4318/in");
        assert_eq!(it.shown(), "https://***@otel.example.org:4318/in");
        assert_eq!(format!("{it:?}"), it.shown());
        assert_eq!(it.secrets(), ["p%40ss", "p@ss"]);
        let header = it.authorization().unwrap();
        assert_eq!(
            header.value,
            format!("Basic {}", STANDARD.encode("me:p@ss"))
        );
        let plain = Address::read("http://127.0.0.1:4317").unwrap();
        assert_eq!(
            (plain.shown().as_str(), plain.has_path()),
            ("http://127.0.0.1:4317", false)
        );
        for wrong in [
            "",
            "otel.example.org:4317",
            "ftp://x",
            "http://",
            "http://me@x",
            "http://me:@x",
            "http://:p@x",
            "http://me:p%4@x",
            "http://me:p/x@y",
            "http://x?y",
        ] {
            assert!(Address::read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn headers_are_names_and_values_and_show_only_the_names() {
        let all = headers(["Authorization: Bearer abc def", "x-tenant:acme"].into_iter()).unwrap();
        assert_eq!(
            (&*all[0].name, &*all[0].value),
            ("authorization", "Bearer abc def")
        );
        assert_eq!(format!("{all:?}"), "[authorization: ***, x-tenant: ***]");
        assert_eq!(all[0].secrets(), ["Bearer abc def", "abc def"]);
        for wrong in [
            "",
            "nothing",
            "name:",
            ": value",
            "na me: v",
            "x: ***",
            "x: a\nb: c",
            "Content-Type: text/plain",
            "grpc-timeout: 1S",
        ] {
            assert!(headers([wrong].into_iter()).is_none(), "{wrong}");
        }
        assert!(headers(["a: 1", "A: 2"].into_iter()).is_none());
    }
}
