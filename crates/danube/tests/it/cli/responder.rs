//! A server that plays a script: it answers the n-th request as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

/// What came in.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `GET /api/v1/jobs?limit=50`
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(it, _)| it == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// One answer: bytes to write before the connection is closed.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    bytes: Vec<u8>,
    /// Stay connected, and silent, until the client goes.
    stays: bool,
}

impl Answer {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        Self {
            bytes: [head.as_bytes(), body.as_bytes()].concat(),
            stays: false,
        }
    }

    /// A problem with this code, as the server words it.
    pub(crate) fn problem(code: &str, status: u16, detail: &str) -> Self {
        Self::json(
            status,
            &json!({"type": format!("urn:danube:error:{code}"), "title": code, "status": status, "detail": detail, "code": code}),
        )
    }

    /// A log in chunks, whole.
    pub(crate) fn log(bytes: &[u8]) -> Self {
        let mut answer = Self::broken_log(bytes);
        answer.bytes.extend_from_slice(b"0\r\n\r\n");
        answer
    }

    /// The same without its end.
    pub(crate) fn broken_log(bytes: &[u8]) -> Self {
        // Each connection has one answer: a client that took it for its next request, before
        // it hears of the end, would ask in vain.
        let mut all = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\
              transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
            .to_vec();
        if !bytes.is_empty() {
            all.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
            all.extend_from_slice(bytes);
            all.extend_from_slice(b"\r\n");
        }
        Self {
            bytes: all,
            stays: false,
        }
    }

    /// Nothing at all.
    pub(crate) fn nothing() -> Self {
        Self {
            bytes: Vec::new(),
            stays: false,
        }
    }

    pub(crate) fn and_stays(self) -> Self {
        Self {
            stays: true,
            ..self
        }
    }
}

/// The server. Fails the test when it is asked more often than the script is long.
pub(crate) struct Responder {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Plays these answers, one a connection.
    pub(crate) fn new(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let thread = thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                serve(stream, &answer, &seen);
            }
        });
        Self {
            url,
            requests,
            thread: Some(thread),
        }
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Every request, once the script is played.
    pub(crate) fn finish(mut self) -> Vec<Request> {
        self.thread.take().unwrap().join().unwrap();
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, answer: &Answer, seen: &Mutex<Vec<Request>>) {
    let request = read(&stream);
    seen.lock().unwrap().push(request);
    stream.write_all(&answer.bytes).unwrap();
    stream.flush().unwrap();
    if answer.stays {
        // Returns when the client is gone.
        let _ = stream.read(&mut [0; 64]);
    }
}

fn read(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let line = next();
    let mut headers = Vec::new();
    loop {
        let header = next();
        let Some((name, value)) = header.split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut request = Request {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        headers,
        body: String::new(),
    };
    if let Some(length) = request.header("content-length") {
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        request.body = String::from_utf8(body).unwrap();
    } else if request.header("transfer-encoding").is_some() {
        request.body = chunked(&mut reader);
    }
    request
}

fn chunked(reader: &mut impl BufRead) -> String {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).unwrap();
        if size == 0 {
            return String::from_utf8(body).unwrap();
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
