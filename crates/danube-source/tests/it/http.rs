//! A small HTTP server for the tests: paths with bodies, a token, redirects.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// What a path answers.
#[derive(Clone)]
pub(crate) enum Answer {
    Body(Vec<u8>),
    /// Only with this `Authorization`.
    Guarded(&'static str, Vec<u8>),
    Redirect(String),
    Status(u16),
}

pub(crate) struct Server {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(paths: Vec<(&str, Answer)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let paths: HashMap<String, Answer> = paths
            .into_iter()
            .map(|(path, answer)| (path.to_owned(), answer))
            .collect();
        let seen = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever goes in the middle of an answer is no matter.
                let _ = answer(&stream.unwrap(), &paths);
            }
        });
        Self {
            address,
            ended,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(stream: &TcpStream, paths: &HashMap<String, Answer>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut shown = String::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            value.clone_into(&mut shown);
        }
    }
    let (status, more, body) = match paths.get(&path) {
        None => (404, String::new(), &[][..]),
        Some(Answer::Body(body)) => (200, String::new(), &body[..]),
        Some(Answer::Guarded(wanted, body)) if shown == *wanted => (200, String::new(), &body[..]),
        Some(Answer::Guarded(..)) => (401, String::new(), &[][..]),
        Some(Answer::Redirect(to)) => (302, format!("location: {to}\r\n"), &[][..]),
        Some(Answer::Status(status)) => (*status, String::new(), &[][..]),
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} x\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)
}
