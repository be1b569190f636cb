//! Where Redis is.

use std::fmt;

use redis::{Client, ConnectionAddr, IntoConnectionInfo};

/// The address of a Redis: `redis://[[user]:password@]host[:port][/database]`, or `rediss://`
/// with TLS.
#[derive(Clone)]
pub struct Address {
    pub(crate) client: Client,
    /// Without the password.
    shown: String,
    password: Option<String>,
}

/// Why a text isn't the address of a Redis. It isn't shown, since it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be redis://[user:password@]host[:port][/database], or rediss:// with TLS")]
pub struct BadAddress;

impl Address {
    /// Reads one. Nothing is connected.
    ///
    /// # Errors
    /// [`BadAddress`]
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let is_known = text.starts_with("redis://") || text.starts_with("rediss://");
        // What `url` would read as a host of its own choice, and options, which could turn
        // off the check of certificates.
        let is_plain = text.bytes().all(|it| it.is_ascii_graphic()) && !text.contains(['?', '#']);
        if !is_known || !is_plain {
            return Err(BadAddress);
        }
        let info = text.into_connection_info().map_err(|_| BadAddress)?;
        let (scheme, host, port) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => ("redis", host, port),
            ConnectionAddr::TcpTls { host, port, .. } => ("rediss", host, port),
            _ => return Err(BadAddress),
        };
        let settings = info.redis_settings();
        let password = settings.password().map(str::to_owned);
        let login = match (settings.username(), &password) {
            (_, None) => "",
            _ => "***@",
        };
        let host = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        let shown = format!("{scheme}://{login}{host}:{port}/{}", settings.db());
        let client = Client::open(info).map_err(|_| BadAddress)?;
        Ok(Self {
            client,
            shown,
            password,
        })
    }

    /// What of it must not be seen.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        self.password.as_deref()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.shown == other.shown && self.password == other.password
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (text, shown, secret) in [
            ("redis://127.0.0.1", "redis://127.0.0.1:6379/0", None),
            ("redis://[::1]:7000/2", "redis://[::1]:7000/2", None),
            (
                "rediss://danube:s3cret@redis.internal:6380",
                "rediss://***@redis.internal:6380/0",
                Some("s3cret"),
            ),
            (
                "redis://:p%40ss@localhost/1",
                "redis://***@localhost:6379/1",
                Some("p@ss"),
            ),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), shown);
            assert_eq!(address.secret(), secret);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "127.0.0.1:6379",
            "http://127.0.0.1",
            "redis://",
            "redis:///1",
            "redis://host:port",
            "redis://host/x",
            "rediss://host#insecure",
            "redis://host?protocol=resp3",
            "unix:///run/redis.sock",
            "redis://ho st",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
