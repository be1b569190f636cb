//! A server that answers what a test says, and names that lead where it says.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use danube_outgoing::{Client, Names, Policy, Rule};

/// Answers one connection after another, each with the next script.
pub(crate) struct Server {
    pub(crate) port: u16,
    requests: mpsc::Receiver<String>,
}

impl Server {
    /// Each connection gets the next of `answers`; with none left, it is closed.
    pub(crate) fn new(answers: Vec<String>) -> Self {
        Self::with(answers.into_iter().map(|it| {
            let write = move |mut stream: TcpStream| {
                let _ = stream.write_all(it.as_bytes());
            };
            Box::new(write) as Script
        }))
    }

    /// The same with whole scripts.
    pub(crate) fn with(scripts: impl IntoIterator<Item = Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, requests) = mpsc::sync_channel(64);
        let mut scripts: VecDeque<Script> = scripts.into_iter().collect();
        thread::spawn(move || {
            while let Some(script) = scripts.pop_front() {
                let Ok((stream, _)) = listener.accept() else {
                    return;
                };
                let request = read_request(&stream);
                let _ = tell.send(request);
                script(stream);
            }
        });
        Self { port, requests }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// All requests so far, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.try_iter().collect()
    }
}

pub(crate) type Script = Box<dyn FnOnce(TcpStream) + Send>;

fn read_request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut text = String::new();
    while reader.read_line(&mut text).is_ok_and(|it| it > 0) && !text.ends_with("\r\n\r\n") {}
    let length = text
        .lines()
        .find_map(|it| {
            it.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    text + &String::from_utf8(body).unwrap()
}

/// An answer with this status, further header lines and body.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Names that answer something else each time they are asked.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<VecDeque<Vec<&'static str>>>);

impl Names for Told {
    fn look_up(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let next = self.0.lock().unwrap().pop_front();
        let next = next.ok_or(io::ErrorKind::NotFound)?;
        Ok(next.iter().map(|it| it.parse().unwrap()).collect())
    }
}

pub(crate) fn policy(allowed: &[&str]) -> Policy {
    let rules = allowed.iter().map(|it| it.parse::<Rule>().unwrap());
    Policy {
        allow_private: rules.collect(),
        allow_http: true,
    }
}

/// A client that may call `allowed`; every lookup gets the next of `answers`.
pub(crate) fn client(allowed: &[&str], answers: &[&[&'static str]]) -> Client {
    let answers = answers.iter().map(|it| it.to_vec()).collect();
    Client::with_names(
        policy(allowed),
        "test/1",
        Arc::new(Told(Mutex::new(answers))),
    )
}
