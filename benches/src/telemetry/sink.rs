//! A collector that takes everything: OTLP over HTTP, counted and forgotten.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Longest message that is taken; a collector's own default is as large.
const BODY_BYTES_MAX: usize = 64 << 20;

/// What came by one path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

type ByPath = Arc<Mutex<BTreeMap<String, Taken>>>;

/// The running collector; its threads end with the process.
pub(crate) struct Sink {
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    taken: ByPath,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let taken = ByPath::default();
        let of_thread = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = Arc::clone(&of_thread);
                std::thread::spawn(move || while answer(&stream, &taken).is_some() {});
            }
        });
        Self { url, taken }
    }

    /// What came so far, by path.
    pub(crate) fn taken(&self) -> BTreeMap<String, Taken> {
        self.taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// One request; `None` at the connection's end, and for what isn't understood.
fn answer(mut stream: &TcpStream, taken: &ByPath) -> Option<()> {
    // Whoever pushes waits for the answer: nothing of the next request is lost here.
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|it| *it > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = None;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok();
        }
    }
    let mut body = vec![0; length.filter(|it| *it <= BODY_BYTES_MAX)?];
    reader.read_exact(&mut body).ok()?;
    {
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.entry(path).or_default();
        own.messages += 1;
        own.bytes += body.len();
    }
    stream
        .write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
        )
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_path_on_one_connection() {
        let sink = Sink::start();
        let address = sink.url.strip_prefix("http://").expect("as it is made");
        let mut stream = TcpStream::connect(address).expect("connect");
        for path in ["/v1/logs", "/v1/metrics", "/v1/logs"] {
            let request = format!("POST {path} HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
            stream.write_all(request.as_bytes()).expect("send");
            let mut head = BufReader::new(&stream);
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                assert!(head.read_line(&mut line).expect("an answer") > 0);
            }
        }
        let logs = sink.taken()["/v1/logs"];
        assert_eq!((logs.messages, logs.bytes), (2, 6));
    }
}
