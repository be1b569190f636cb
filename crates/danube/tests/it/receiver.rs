//! Somebody who is told of ended jobs: a server on loopback with the faults that a test wants.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Inbox, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::master::DEADLINE;

/// How a request is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    /// With a status and further header lines, each with its line end.
    Status(u16, &'static str),
    /// Not before [`Receiver::answer`], or never.
    Hang,
    /// By closing the connection.
    Reset,
}

/// What came.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    /// The request line.
    pub(crate) line: String,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body as it came.
    pub(crate) body: String,
}

impl Taken {
    pub(crate) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// The server. It answers the first requests as told, and all others like the last.
pub(crate) struct Receiver {
    pub(crate) address: String,
    inbox: Inbox<Taken>,
    replies: Arc<Mutex<Vec<Reply>>>,
    held: Arc<Mutex<Vec<TcpStream>>>,
}

/// More requests than any test makes.
const INBOX_MAX: usize = 1_024;

impl Receiver {
    pub(crate) fn new(replies: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let replies = Arc::new(Mutex::new(replies.to_vec()));
        let (tell, inbox) = sync_channel(INBOX_MAX);
        let next = Arc::clone(&replies);
        let held = Arc::<Mutex<Vec<TcpStream>>>::default();
        let waiting = Arc::clone(&held);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let reply = {
                    let mut all = next.lock().unwrap();
                    if all.len() > 1 { all.remove(0) } else { all[0] }
                };
                if !serve(stream, reply, &tell, &waiting) {
                    return;
                }
            }
        });
        Self {
            address,
            inbox,
            replies,
            held,
        }
    }

    /// All requests from now on are answered so.
    pub(crate) fn now(&self, reply: Reply) {
        *self.replies.lock().unwrap() = vec![reply];
    }

    /// Answers those that hang.
    pub(crate) fn answer(&self, status: u16) {
        for stream in self.held.lock().unwrap().drain(..) {
            answer(&stream, status, "");
        }
    }

    /// The next request, once it has come.
    #[track_caller]
    pub(crate) fn next(&self) -> Taken {
        self.inbox.recv_timeout(DEADLINE).expect("a webhook comes")
    }

    /// What has come and wasn't looked at.
    pub(crate) fn rest(&self) -> usize {
        self.inbox.try_iter().count()
    }
}

/// False when nobody wants to know any more.
fn serve(
    stream: TcpStream,
    reply: Reply,
    tell: &SyncSender<Taken>,
    held: &Mutex<Vec<TcpStream>>,
) -> bool {
    let Some(taken) = read(&stream) else {
        return true;
    };
    match reply {
        Reply::Status(status, headers) => answer(&stream, status, headers),
        // First held, then told: whoever hears of it can answer it.
        Reply::Hang => held.lock().unwrap().push(stream),
        Reply::Reset => drop(stream),
    }
    tell.send(taken).is_ok()
}

fn answer(mut stream: &TcpStream, status: u16, headers: &str) {
    let answer =
        format!("HTTP/1.1 {status} X\r\n{headers}Connection: close\r\nContent-Length: 0\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes());
}

fn read(stream: &TcpStream) -> Option<Taken> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = BTreeMap::new();
    loop {
        let mut text = String::new();
        reader.read_line(&mut text).ok()?;
        let Some((name, value)) = text.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Taken {
        line: line.trim_end().to_owned(),
        headers,
        body: String::from_utf8(body).ok()?,
    })
}
