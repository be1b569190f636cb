//! Where the callback plugin connects to: a socket in the run's private directory, and the
//! thread that reads from it.

use std::fs::{self, File, Permissions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::heard::{self, Heard};

/// Bytes of a line: the values that are registered at once, in base64. The plugin sends
/// less.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Connections at once: one of Ansible's own, and one of each fork that decrypts a value.
const CONNECTIONS_MAX: usize = 1_024;

/// Read at once.
const READ_BYTES: usize = 64 * 1024;

/// How long an answer may wait for whoever asked: it waits for nothing else.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(1);

/// Who hears what is told. Called from one thread, in order.
pub trait Hear: Send + 'static {
    /// Something was told. Ansible goes on with values that it decrypted once this has
    /// returned.
    fn hear(&mut self, heard: Heard);

    /// When [`Hear::tick`] should be called.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Called once [`Hear::deadline`] has come; must move or clear it.
    fn tick(&mut self) {}
}

/// The socket, before anybody listens.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Makes the socket in `dir`, which must be closed to others, for this user.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn bind(dir: &Path, owner: Option<(u32, u32)>) -> io::Result<Self> {
        const NAME: &str = "events";
        let path = dir.join(NAME);
        // A socket's path may have 107 bytes; through the open directory it has few.
        let open = File::open(dir)?;
        let short = format!("/proc/self/fd/{}/{NAME}", open.as_raw_fd());
        let listener = UnixListener::bind(short)?;
        listener.set_nonblocking(true)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        if let Some((uid, gid)) = owner {
            chown(&path, Some(uid), Some(gid))?;
        }
        Ok(Self { listener, path })
    }

    /// The socket's path, for [`crate::prepare()`].
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Listens on a thread of its own.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn listen<H: Hear>(self, hear: H) -> io::Result<Listening<H>> {
        let (until, stop) = io::pipe()?;
        let thread = thread::Builder::new().name("ansible-events".to_owned());
        let thread = thread.spawn(move || {
            let mut ear = Ear {
                listener: self.listener,
                lines: Vec::new(),
                hear,
            };
            ear.listen(&until);
            ear.hear
        })?;
        Ok(Listening {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

/// A socket on which somebody listens. Dropped, it is as if [`Listening::finish`] was called.
#[derive(Debug)]
pub struct Listening<H> {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<H>>,
}

impl<H> Listening<H> {
    /// Call it when Ansible has ended: returns who heard, once that is all that was told.
    /// None when it panicked, which has been told by then.
    pub fn finish(mut self) -> Option<H> {
        self.end()
    }

    fn end(&mut self) -> Option<H> {
        self.stop = None;
        self.thread.take()?.join().ok()
    }
}

impl<H> Drop for Listening<H> {
    fn drop(&mut self) {
        drop(self.end());
    }
}

struct Ear<H> {
    listener: UnixListener,
    lines: Vec<Connection>,
    hear: H,
}

struct Connection {
    stream: UnixStream,
    unread: Vec<u8>,
}

impl<H: Hear> Ear<H> {
    fn listen(&mut self, until: &PipeReader) {
        let mut is_last = false;
        loop {
            let due = self.hear.deadline();
            if due.is_some_and(|it| it <= Instant::now()) {
                self.hear.tick();
            }
            let wait = match self.hear.deadline() {
                _ if is_last => Some(Duration::ZERO),
                due => due.map(|it| it.saturating_duration_since(Instant::now())),
            };
            let wait = wait.and_then(|it| Timespec::try_from(it).ok());
            let (stopped, is_called, ready) = match self.wait(until, wait.as_ref()) {
                Ok(it) => it,
                Err(_) => return,
            };
            // What is there when the end is told is still heard.
            if is_last && !is_called && !ready.contains(&true) {
                return;
            }
            is_last = is_last || stopped;
            for (at, is_ready) in ready.into_iter().enumerate().rev() {
                if is_ready && !self.lines[at].read(&mut self.hear) {
                    self.lines.swap_remove(at);
                }
            }
            if is_called {
                self.accept();
            }
        }
    }

    /// Waits for the end, a call or a line: which of them it was.
    fn wait(
        &self,
        until: &PipeReader,
        longest: Option<&Timespec>,
    ) -> io::Result<(bool, bool, Vec<bool>)> {
        let full = self.lines.len() >= CONNECTIONS_MAX;
        let calls = if full {
            PollFlags::empty()
        } else {
            PollFlags::IN
        };
        let mut all = vec![
            PollFd::from_borrowed_fd(until.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.listener.as_fd(), calls),
        ];
        let lines = self.lines.iter();
        all.extend(lines.map(|it| PollFd::from_borrowed_fd(it.stream.as_fd(), PollFlags::IN)));
        loop {
            match poll(&mut all, longest) {
                Err(rustix::io::Errno::INTR) => {}
                other => {
                    other?;
                    break;
                }
            }
        }
        let is_ready = |it: &PollFd<'_>| !it.revents().is_empty();
        let lines = all[2..].iter().map(is_ready).collect();
        Ok((is_ready(&all[0]), is_ready(&all[1]), lines))
    }

    fn accept(&mut self) {
        while self.lines.len() < CONNECTIONS_MAX {
            let Ok((stream, _)) = self.listener.accept() else {
                return;
            };
            if stream.set_nonblocking(true).is_ok() {
                self.lines.push(Connection {
                    stream,
                    unread: Vec::new(),
                });
            }
        }
    }
}

impl Connection {
    /// Reads what is there; `false` when nothing will follow.
    fn read(&mut self, hear: &mut impl Hear) -> bool {
        let mut bytes = vec![0; READ_BYTES];
        let count = match self.stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(error) => {
                let kind = error.kind();
                return matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
            }
        };
        self.unread.extend_from_slice(&bytes[..count]);
        let mut from = 0;
        while let Some(length) = self.unread[from..].iter().position(|it| *it == b'\n') {
            let line = &self.unread[from..from + length];
            from += length + 1;
            let Some(heard) = heard::read(line) else {
                continue;
            };
            let waits = matches!(heard, Heard::Secrets(_));
            hear.hear(heard);
            if waits && !self.answer() {
                return false;
            }
        }
        self.unread.drain(..from);
        self.unread.len() <= LINE_BYTES_MAX
    }

    fn answer(&mut self) -> bool {
        let is_set = self.stream.set_nonblocking(false).is_ok()
            && self.stream.set_write_timeout(Some(ANSWER_WAIT_MAX)).is_ok();
        is_set && self.stream.write_all(b"\n").is_ok() && self.stream.set_nonblocking(true).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::sync::mpsc;

    use super::*;

    struct Passes(mpsc::SyncSender<Heard>);

    impl Hear for Passes {
        fn hear(&mut self, heard: Heard) {
            self.0.send(heard).expect("the test waits");
        }
    }

    #[test]
    fn all_that_was_told_before_the_end_is_heard_and_values_are_answered_for() {
        let dir = tempfile::tempdir().unwrap();
        // Longer than a socket's path may be.
        let deep = dir.path().join("d".repeat(100)).join("e".repeat(100));
        fs::create_dir_all(&deep).unwrap();
        let listener = Listener::bind(&deep, None).unwrap();
        let open = File::open(&deep).unwrap();
        let (sender, heard) = mpsc::sync_channel(2_000);
        let listening = listener.listen(Passes(sender)).unwrap();
        let path = format!("/proc/self/fd/{}/events", open.as_raw_fd());
        let mut line = UnixStream::connect(path).unwrap();
        line.write_all(b"{\"kind\":\"secret\",\"values\":[\"aHVzaC1odXNo\"]}\nnonsense\n")
            .unwrap();
        let mut answer = String::new();
        io::BufReader::new(&line).read_line(&mut answer).unwrap();
        assert_eq!(answer, "\n");
        for n in 0..1_000 {
            let text = format!("{{\"kind\":\"play\",\"at\":{n},\"name\":\"p\"}}\n");
            line.write_all(text.as_bytes()).unwrap();
        }
        drop(line);
        drop(listening.finish());
        assert_eq!(heard.iter().count(), 1_001);
    }

    #[test]
    fn a_line_without_end_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let listener = Listener::bind(dir.path(), None).unwrap();
        let path = listener.path().to_owned();
        let (sender, heard) = mpsc::sync_channel(2_000);
        let listening = listener.listen(Passes(sender)).unwrap();
        let mut line = UnixStream::connect(path).unwrap();
        let written = (0..100).try_for_each(|_| line.write_all(&[b'x'; READ_BYTES]));
        assert!(written.is_err());
        drop(listening.finish());
        assert_eq!(heard.iter().count(), 0);
    }
}
