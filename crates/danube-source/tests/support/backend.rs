//! A git server behind HTTP and a login: git's own server side as a CGI.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Who is let in, and what others are told.
#[derive(Clone, Default)]
struct Door {
    authorization: String,
    refusal: String,
}

/// Ends when dropped.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    door: Arc<Mutex<Door>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Serves the repositories below `root`, to nobody yet.
    pub(crate) fn start(root: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let door = Arc::new(Mutex::new(Door::default()));
        let asked = Arc::clone(&door);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever goes in the middle of an answer is no matter.
                let _ = answer(&stream.unwrap(), &root, &asked);
            }
        });
        Self {
            address,
            door,
            ended,
            thread: Some(thread),
        }
    }

    /// Who shows this `Authorization` is let in from now on; others are told so.
    pub(crate) fn lets_in(&self, authorization: &str, refusal: &str) {
        *self.door.lock().unwrap() = Door {
            authorization: authorization.to_owned(),
            refusal: refusal.to_owned(),
        };
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(mut stream: &TcpStream, root: &Path, door: &Mutex<Door>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split(' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query);
    let (mut length, mut shown) = (0, false);
    let door = door.lock().unwrap().clone();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => shown = value == door.authorization,
            "content-length" => length = value.parse().unwrap(),
            "content-type" => {
                command.env("CONTENT_TYPE", value);
            }
            "content-encoding" => {
                command.env("HTTP_CONTENT_ENCODING", value);
            }
            "git-protocol" => {
                command.env("GIT_PROTOCOL", value);
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if !shown {
        let head = "HTTP/1.1 401 x\r\nwww-authenticate: Basic realm=\"x\"\r\n";
        let (length, refusal) = (door.refusal.len(), door.refusal);
        let about = format!("content-type: text/plain\r\ncontent-length: {length}\r\n");
        return write!(stream, "{head}{about}connection: close\r\n\r\n{refusal}");
    }
    command.env("CONTENT_LENGTH", length.to_string());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().unwrap().write_all(&body)?;
    let output = child.wait_with_output()?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n")?;
    stream.write_all(&output.stdout)
}
