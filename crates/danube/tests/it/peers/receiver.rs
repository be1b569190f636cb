//! A server that keeps what it is sent and answers as it is told: the end of the
//! line for what Danube pushes, and a target for Prometheus.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::master::DEADLINE;
use crate::processes::until;

/// Largest body that is taken, in bytes: collectors take 4 MiB by default, and
/// what comes in more than one of these was not meant for us.
const BODY_BYTES_MAX: usize = 64 << 20;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// `/v1/metrics`
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// A header's value, empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(it, _)| it == name);
        found.map_or("", |(_, value)| value)
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// 200 with this text.
    pub(crate) fn text(kind: &'static str, body: &str) -> Self {
        let body = body.as_bytes().to_vec();
        Self {
            status: 200,
            kind,
            body,
        }
    }
}

struct State {
    received: Mutex<Vec<Received>>,
    reply: Mutex<Reply>,
    connections: Mutex<Vec<(TcpStream, JoinHandle<()>)>>,
    is_over: AtomicBool,
}

/// The server. Ended when dropped.
pub(crate) struct Receiver {
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Answers this to everything.
    pub(crate) fn answering(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State {
            received: Mutex::default(),
            reply: Mutex::new(reply),
            connections: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || accept(&listener, &shared));
        Self {
            url: format!("http://{address}"),
            address,
            state,
            thread: Some(thread),
        }
    }

    /// Everything that came so far, in order.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.received.lock().expect("received").clone()
    }

    /// Waits until `look` sees something in what came.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut(&[Received]) -> Option<T>) -> T {
        until(what, DEADLINE, || look(&self.received()))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.state.is_over.store(true, SeqCst);
        // `accept` has no deadline; a visitor ends it.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let connections = std::mem::take(&mut *self.state.connections.lock().expect("connections"));
        for (stream, thread) in connections {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if state.is_over.load(SeqCst) {
            return;
        }
        let kept = stream.try_clone().expect("the same socket twice");
        let shared = Arc::clone(state);
        let thread = thread::spawn(move || {
            let mut reader = BufReader::new(&stream);
            while let Some(request) = read(&mut reader) {
                shared.received.lock().expect("received").push(request);
                let Reply { status, kind, body } = shared.reply.lock().expect("reply").clone();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                if (&stream)
                    .write_all(&[head.as_bytes(), &body].concat())
                    .is_err()
                {
                    return;
                }
            }
        });
        state
            .connections
            .lock()
            .expect("connections")
            .push((kept, thread));
    }
}

/// The next request, or `None` when the client has gone or makes no sense.
fn read(reader: &mut impl BufRead) -> Option<Received> {
    let line = read_line(reader)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Received {
        path,
        headers,
        body: Vec::new(),
    };
    if request.header("transfer-encoding") == "chunked" {
        request.body = read_chunks(reader)?;
    } else if let Ok(length) = request.header("content-length").parse() {
        request.body = read_exactly(reader, length)?;
    }
    Some(request)
}

/// A line without its end; `None` at the end of the stream.
fn read_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let count = reader.read_line(&mut line).ok()?;
    (count > 0).then(|| line.trim_end().to_owned())
}

fn read_exactly(reader: &mut impl Read, length: usize) -> Option<Vec<u8>> {
    if length > BODY_BYTES_MAX {
        return None;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

fn read_chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&read_line(reader)?, 16).ok()?;
        body.extend(read_exactly(reader, size)?);
        read_line(reader)?;
        if size == 0 {
            return Some(body);
        }
    }
}
