//! Below the harness: a job that does what the test says, raw sockets, and a
//! reader of server-sent events.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::master::{DEADLINE, Master, id};

/// Where a job waits for the test. The job connects; each line it gets is
/// printed in one write, and answered when that is done.
pub(crate) struct Puppets {
    port: u16,
    arrivals: Receiver<TcpStream>,
}

/// A step that waits for the next word. Dropped, it ends well.
pub(crate) struct Puppet {
    lines: BufReader<TcpStream>,
}

/// Puppets that may wait for their test.
const PUPPETS_MAX: usize = 64;

impl Puppets {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("an address").port();
        let (sender, arrivals) = sync_channel(PUPPETS_MAX);
        // Ends with the test's process, or when nobody waits any more.
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if sender.send(stream).is_err() {
                    return;
                }
            }
        });
        Self { port, arrivals }
    }

    /// The script of a puppet, for `bash`.
    pub(crate) fn script(&self) -> String {
        format!(
            "exec 9<>/dev/tcp/127.0.0.1/{}\n\
             while read -r to text <&9; do\n\
             case $to in out) printf '%b' \"$text\";; err) printf '%b' \"$text\" >&2;; esac\n\
             echo done >&9\n\
             done\n",
            self.port
        )
    }

    /// A submit of one puppet.
    pub(crate) fn order(&self) -> Value {
        json!({"spec": {"name": "puppet", "shell": "bash", "steps": [{"name": "only", "run": self.script()}]}})
    }

    /// Submits one puppet and waits until it runs; its job's id.
    pub(crate) fn start(&self, master: &Master) -> (String, Puppet) {
        let job = id(&master.submit(&self.order()));
        (job, self.arrival())
    }

    /// Waits for the next step to arrive.
    #[track_caller]
    pub(crate) fn arrival(&self) -> Puppet {
        let stream = self
            .arrivals
            .recv_timeout(DEADLINE)
            .expect("the step begins");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("set a deadline");
        Puppet {
            lines: BufReader::new(stream),
        }
    }
}

impl Puppet {
    /// Writes these bytes to standard output, in one write.
    pub(crate) fn print(&mut self, bytes: impl AsRef<[u8]>) {
        self.write("out", bytes.as_ref());
    }

    /// The same to standard error.
    pub(crate) fn complain(&mut self, bytes: impl AsRef<[u8]>) {
        self.write("err", bytes.as_ref());
    }

    fn write(&mut self, to: &str, bytes: &[u8]) {
        let octal: String = bytes.iter().map(|byte| format!("\\0{byte:03o}")).collect();
        let order = format!("{to} {octal}\n");
        self.lines
            .get_mut()
            .write_all(order.as_bytes())
            .expect("tell the step");
        let mut answer = String::new();
        self.lines
            .read_line(&mut answer)
            .expect("hear from the step");
        assert_eq!(answer, "done\n", "the step is gone");
    }
}

/// A raw connection to the master.
pub(crate) fn connect(master: &Master) -> TcpStream {
    let address = master.address.strip_prefix("http://").expect("plain HTTP");
    let stream = TcpStream::connect(address).expect("connect");
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("set a deadline");
    stream
        .set_write_timeout(Some(DEADLINE))
        .expect("set a deadline");
    stream
}

/// Sends bytes as they are; the whole answer. The request must ask to close.
pub(crate) fn raw(master: &Master, request: &[u8]) -> String {
    let mut stream = connect(master);
    // A server that has answered already may have stopped to read.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) data: Value,
}

impl Event {
    /// The bytes of a `log` event.
    #[track_caller]
    pub(crate) fn bytes(&self) -> Vec<u8> {
        assert_eq!(self.name, "log");
        match (self.data["text"].as_str(), self.data["base64"].as_str()) {
            (Some(text), None) => {
                assert_eq!(self.data.get("encoding"), None);
                text.as_bytes().to_vec()
            }
            (None, Some(text)) => {
                assert_eq!(self.data["encoding"], "base64");
                STANDARD.decode(text).expect("base64")
            }
            other => panic!("text or base64, not {other:?}"),
        }
    }
}

/// Reads events as the HTML standard says: comments and unknown fields are
/// skipped, an empty line ends an event.
pub(crate) struct Events<R> {
    lines: BufReader<R>,
    /// Everything that was read.
    pub(crate) raw: Vec<u8>,
}

impl<R: Read> Events<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self {
            lines: BufReader::new(stream),
            raw: Vec::new(),
        }
    }
}

impl<R: Read> Iterator for Events<R> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let (mut name, mut id, mut data) = (None, None, None::<String>);
        loop {
            let from = self.raw.len();
            if self
                .lines
                .read_until(b'\n', &mut self.raw)
                .expect("read events")
                == 0
            {
                return None;
            }
            let line = std::str::from_utf8(&self.raw[from..]).expect("events are UTF-8");
            let line = line.strip_suffix('\n').expect("lines are whole");
            assert!(!line.contains('\r'), "{line:?}");
            match line.split_once(':') {
                None if line.is_empty() => match (name.take(), id.take(), data.take()) {
                    (Some(name), Some(id), Some(data)) => {
                        let data = serde_json::from_str(&data).expect("data is JSON");
                        return Some(Event { name, id, data });
                    }
                    (None, None, None) => {}
                    other => panic!("half an event: {other:?}"),
                },
                Some(("event", value)) => name = Some(value.trim_start().to_owned()),
                Some(("id", value)) => id = Some(value.trim().parse().expect("an offset")),
                Some(("data", value)) => {
                    assert!(data.is_none(), "one line of data");
                    data = Some(value.trim_start().to_owned());
                }
                Some(("retry" | "", _)) => {}
                other => panic!("unknown line {other:?}"),
            }
        }
    }
}

/// Opens a job's events; `last` is the id of the last event seen.
pub(crate) fn follow(master: &Master, job: &str, last: Option<u64>) -> Events<impl Read + use<>> {
    let key = format!("Bearer {}", master.key);
    let last = last.map(|it| it.to_string());
    let mut headers = vec![("authorization", key.as_str())];
    headers.extend(last.as_deref().map(|it| ("last-event-id", it)));
    let answer = master.open(
        "GET",
        &format!("/api/v1/jobs/{job}/logs/stream"),
        &headers,
        b"",
    );
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    Events::new(answer.into_body().into_reader())
}

/// The bytes of all `log` events, checked for loss and repetition from `from` on.
#[track_caller]
pub(crate) fn joined(events: &[Event], from: u64) -> Vec<u8> {
    let (mut at, mut all) = (from, Vec::new());
    for event in events.iter().filter(|it| it.name == "log") {
        let bytes = event.bytes();
        assert_eq!(event.data["offset"], at, "nothing lost, nothing twice");
        at += bytes.len() as u64;
        assert_eq!(event.id, at, "the id is the offset after the data");
        all.extend(bytes);
    }
    all
}

/// JSON text with its values replaced, key order kept: `null` stays.
pub(crate) fn blank(text: &str, fields: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (field, shown) in fields {
        let key = format!("\"{field}\":");
        let (mut out, mut rest) = (String::new(), text.as_str());
        while let Some(at) = rest.find(&key) {
            let (before, after) = rest.split_at(at + key.len());
            out.push_str(before);
            let end = value_end(after);
            out.push_str(if &after[..end] == "null" {
                "null"
            } else {
                shown
            });
            rest = &after[end..];
        }
        out.push_str(rest);
        text = out;
    }
    text
}

fn value_end(text: &str) -> usize {
    let mut inside = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' if inside => return at + 1,
            b'"' => inside = true,
            b',' | b'}' | b']' if !inside => return at,
            _ => {}
        }
    }
    text.len()
}

/// Compact JSON on lines of its own, key order kept.
pub(crate) fn laid_out(text: &str) -> String {
    let (mut out, mut depth, mut inside, mut escaped) = (String::new(), 0, false, false);
    let mut chars = text.trim().chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    while let Some(char) = chars.next() {
        let plain = !inside;
        if escaped {
            escaped = false;
        } else if char == '\\' {
            escaped = true;
        } else if char == '"' {
            inside = !inside;
        }
        match char {
            '{' | '[' if plain => {
                out.push(char);
                if matches!(chars.peek(), Some('}' | ']')) {
                    out.extend(chars.next());
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' if plain => {
                depth -= 1;
                line(&mut out, depth);
                out.push(char);
            }
            ',' if plain => {
                out.push(char);
                line(&mut out, depth);
            }
            ':' if plain => out.push_str(": "),
            _ => out.push(char),
        }
    }
    out.push('\n');
    out
}
