//! Tells the service manager that started this process how it is: `sd_notify(3)`, as
//! systemd and others understand it.
//!
//! A few lines, because the usual crates read the environment at every call and open a
//! socket each time, or take the variable away for everybody. We keep both.

use std::fmt::Write as _;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long a message may wait for room in the manager's queue. Those that matter are
/// sent again, or the manager asks for the reason itself.
const SEND_WAIT_MAX: Duration = Duration::from_secs(1);

/// Bytes of a status line that the manager shows.
const STATUS_BYTES_MAX: usize = 500;

/// The service manager, if there is one that wants to hear of us. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Manager(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    address: SocketAddr,
    feed_every: Option<Duration>,
}

impl Manager {
    /// The one that the environment names. The variables stay where they are: no child of
    /// ours inherits them, as each gets an environment that was made for it.
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let number = |name: &str| variable(name)?.parse::<u64>().ok();
        let line = variable("NOTIFY_SOCKET").and_then(|name| {
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_write_timeout(Some(SEND_WAIT_MAX)).ok()?;
            // Somebody before us may have been meant.
            let is_ours =
                number("WATCHDOG_PID").is_none_or(|it| it == u64::from(std::process::id()));
            let micros = number("WATCHDOG_USEC").filter(|it| is_ours && *it > 0);
            Some(Arc::new(Line {
                socket,
                address: address(&name).ok()?,
                // Half of it, as sd_watchdog_enabled(3) advises.
                feed_every: micros.map(|it| Duration::from_micros(it / 2)),
            }))
        });
        Self(line)
    }

    /// How often it wants to hear that we live, if it does.
    #[must_use]
    pub fn feed_every(&self) -> Option<Duration> {
        self.0.as_ref()?.feed_every
    }

    /// We serve, or do so again after [`Manager::reloading`].
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// What a person should see of us.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", line(status)));
    }

    /// We live.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// The settings are read again; ends with [`Manager::ready`].
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// We take nothing new, and end.
    pub fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={}", line(status)));
    }

    /// What we do takes longer: we will be heard of again within this time.
    pub fn extend(&self, time: Duration) {
        self.send(&format!("EXTEND_TIMEOUT_USEC={}", time.as_micros()));
    }

    fn send(&self, message: &str) {
        if let Some(line) = &self.0 {
            // A manager that doesn't listen notices that itself.
            let _ = line.socket.send_to_addr(message.as_bytes(), &line.address);
        }
    }
}

/// A path, or a name that no file system knows, after an `@`.
fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        None if name.starts_with('/') => SocketAddr::from_pathname(name),
        #[cfg(target_os = "linux")]
        Some(name) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// As one line: a second one would be a message of its own.
fn line(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars() {
        if line.len() + character.len_utf8() > STATUS_BYTES_MAX {
            break;
        }
        let _ = line.write_char(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_and_forges_no_message() {
        assert_eq!(line("a\nREADY=1"), "a READY=1");
        assert_eq!(line(&"ä".repeat(400)).len(), STATUS_BYTES_MAX);
    }

    #[test]
    fn a_socket_is_a_path_or_a_name_after_an_at() {
        assert!(address("/run/notify").unwrap().as_pathname().is_some());
        assert!(!address("@danube").unwrap().is_unnamed());
        for name in ["notify", "vsock:2:1", ""] {
            assert!(address(name).is_err(), "{name}");
        }
    }
}
