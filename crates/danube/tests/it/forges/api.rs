//! A forge that is asked: it answers each path as it was told, and remembers what came.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// What is answered: a status, further header lines with their ends, and a body.
type Said = (u16, String, String);

/// What a path says, and what came to which.
#[derive(Default)]
struct Known {
    says: BTreeMap<String, Said>,
    heads: Vec<String>,
}

/// The forge. What it wasn't told of isn't there; what is posted is taken.
pub(super) struct Api {
    pub(super) address: String,
    known: Arc<Mutex<Known>>,
}

impl Api {
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let known = Arc::<Mutex<Known>>::default();
        let here = Arc::clone(&known);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(&stream, &here);
            }
        });
        Self { address, known }
    }

    pub(super) fn says(&self, path: &str, (status, headers, body): (u16, &str, &Value)) {
        let said = (status, headers.to_owned(), body.to_string());
        self.known
            .lock()
            .unwrap()
            .says
            .insert(path.to_owned(), said);
    }

    /// The heads of all requests to paths that hold this.
    pub(super) fn asked(&self, part: &str) -> Vec<String> {
        let known = self.known.lock().unwrap();
        let of = |it: &&String| it.lines().next().unwrap_or_default().contains(part);
        known.heads.iter().filter(of).cloned().collect()
    }

    /// Has the request 7 change these files, on pages; each by its old and its new name.
    pub(super) fn changes(&self, kind: &str, commit: &str, pages: &[&[(&str, &str)]]) {
        let (base, list) = place(kind);
        for (page, files) in (1..).zip(pages) {
            let entries = files.iter().map(|(old, new)| match kind {
                "gitlab" => json!({"old_path": old, "new_path": new, "diff": "@@ -1 +1 @@"}),
                _ if old == new => json!({"filename": new, "status": "modified"}),
                _ => json!({"filename": new, "previous_filename": old, "status": "renamed"}),
            });
            let next = match page < pages.len() {
                true => format!("Link: <{}{base}>; rel=\"next\"\r\n", self.address),
                false => String::new(),
            };
            let path = format!("{base}/{list}&page={page}");
            self.says(&path, (200, &next, &entries.collect()));
        }
        let count: usize = pages.iter().map(|it| it.len()).sum();
        self.is_at(kind, commit, count);
    }

    /// The request 7 is at this commit by now, and changes so many files.
    pub(super) fn is_at(&self, kind: &str, commit: &str, count: usize) {
        let about = match kind {
            "gitlab" => json!({"sha": commit, "changes_count": count.to_string()}),
            _ => json!({"head": {"sha": commit}, "changed_files": count}),
        };
        self.says(&place(kind).0, (200, "", &about));
    }
}

/// Where a forge of this kind has the request 7, and below it the list of its files.
pub(super) fn place(kind: &str) -> (String, &'static str) {
    match kind {
        "github" => (
            "/api/v3/repos/team/app/pulls/7".to_owned(),
            "files?per_page=100",
        ),
        "gitlab" => (
            "/api/v4/projects/team%2Fapp/merge_requests/7".to_owned(),
            "diffs?per_page=100",
        ),
        _ => (
            "/api/v1/repos/team/app/pulls/7".to_owned(),
            "files?limit=50",
        ),
    }
}

fn serve(mut stream: &TcpStream, known: &Mutex<Known>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|it| it.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let _ = reader.read_exact(&mut body);
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let missing = match head.starts_with("POST") {
        true => (201, String::new(), "{}".to_owned()),
        false => (404, String::new(), "{}".to_owned()),
    };
    let said = {
        let mut known = known.lock().unwrap();
        let said = known.says.get(&path).cloned();
        known.heads.push(head);
        said.unwrap_or(missing)
    };
    let (status, headers, body) = said;
    let answer = format!(
        "HTTP/1.1 {status} X\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(answer.as_bytes());
}
