//! The least HTTP client that a load needs: one connection, kept open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::server::Server;

/// One open connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Client {
    /// Connects.
    pub fn new(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.address).expect("connect");
        stream.set_nodelay(true).expect("set an option");
        let head = format!("host: danube\r\nauthorization: Bearer {}\r\n", server.key);
        Self {
            stream: BufReader::new(stream),
            head,
        }
    }

    /// Submits a job of one step; returns its id.
    pub fn submit(&mut self, script: &str) -> String {
        let body = format!(
            "{{\"spec\":{{\"name\":\"bench\",\"steps\":[{{\"name\":\"only\",\"run\":\"{script}\"}}]}}}}"
        );
        self.submit_body(&body)
    }

    /// Submits this body; returns the job's id.
    pub fn submit_body(&mut self, body: &str) -> String {
        let (status, body) = self.post("/api/v1/jobs", body);
        assert_eq!(status, 202, "{body}");
        let job: serde_json::Value = serde_json::from_str(&body).expect("a job");
        job["id"].as_str().expect("an id").to_owned()
    }

    /// POST of JSON; status and body.
    pub fn post(&mut self, path: &str, body: &str) -> (u16, String) {
        let head = format!(
            "POST {path} HTTP/1.1\r\n{}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.head,
            body.len()
        );
        self.send(&head);
        self.answer()
    }

    /// GET of JSON.
    pub fn json(&mut self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.get(path)).expect("JSON")
    }

    /// GET; the body.
    pub fn get(&mut self, path: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\n{}\r\n", self.head);
        self.send(&head);
        self.answer().1
    }

    /// GET with further headers, each with its line end; status and body as it came.
    pub fn get_bytes(&mut self, path: &str, headers: &str) -> (u16, Vec<u8>) {
        let head = format!("GET {path} HTTP/1.1\r\n{}{headers}\r\n", self.head);
        self.send(&head);
        self.raw_answer()
    }

    /// Follows a job's log to its first byte, and then to its end.
    pub fn follow(&mut self, id: &str, mut first_byte: impl FnMut()) -> Vec<u8> {
        let head = format!(
            "GET /api/v1/jobs/{id}/logs?follow=1 HTTP/1.1\r\n{}\r\n",
            self.head
        );
        self.send(&head);
        let (_, length) = self.headers();
        assert_eq!(length, None, "a followed log has no length");
        let mut all = Vec::new();
        loop {
            let chunk = self.chunk();
            if chunk.is_empty() {
                return all;
            }
            if all.is_empty() {
                first_byte();
            }
            all.extend(chunk);
        }
    }

    fn send(&mut self, text: &str) {
        self.stream
            .get_mut()
            .write_all(text.as_bytes())
            .expect("send");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(
            self.stream.read_line(&mut line).expect("read") > 0,
            "the server closed the connection"
        );
        line.trim_end().to_owned()
    }

    fn headers(&mut self) -> (u16, Option<usize>) {
        let status = self
            .line()
            .split(' ')
            .nth(1)
            .and_then(|it| it.parse().ok())
            .expect("a status");
        let mut length = None;
        loop {
            let line = self.line().to_ascii_lowercase();
            if line.is_empty() {
                return (status, length);
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok();
            }
        }
    }

    fn answer(&mut self) -> (u16, String) {
        let (status, body) = self.raw_answer();
        (status, String::from_utf8(body).expect("text"))
    }

    fn raw_answer(&mut self) -> (u16, Vec<u8>) {
        let (status, length) = self.headers();
        let mut body = match length {
            Some(length) => {
                let mut body = vec![0; length];
                self.stream.read_exact(&mut body).expect("read");
                body
            }
            None => Vec::new(),
        };
        while length.is_none() {
            let chunk = self.chunk();
            if chunk.is_empty() {
                break;
            }
            body.extend(chunk);
        }
        (status, body)
    }

    fn chunk(&mut self) -> Vec<u8> {
        let size = usize::from_str_radix(&self.line(), 16).expect("a chunk's size");
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).expect("read");
        chunk.truncate(size);
        chunk
    }
}
