//! A repository behind HTTP and a password: git's own server side as a CGI.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use danube_source::{GitCredential, Secret};

use crate::git::{playbook, repository};
use crate::http::{Answer, Server};
use crate::support::{World, snapshot};

/// `me:p@ss/word:1`
const SHOWN: &str = "Basic bWU6cEBzcy93b3JkOjE=";
const PASSWORD: &str = "p@ss/word:1";

struct Backend {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    fn start(root: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever goes in the middle of an answer is no matter.
                let _ = answer(&stream.unwrap(), &root);
            }
        });
        Self {
            address,
            ended,
            thread: Some(thread),
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(mut stream: &TcpStream, root: &Path) -> std::io::Result<()> {
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
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => shown = value == SHOWN,
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
        return write!(
            stream,
            "{head}content-length: 0\r\nconnection: close\r\n\r\n"
        );
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

fn credential(password: &str) -> GitCredential {
    GitCredential::Password {
        id: "git".to_owned(),
        user: "me".to_owned(),
        password: Secret::new(password.to_owned()),
    }
}

#[test]
fn a_password_opens_a_private_repository_and_is_left_nowhere() {
    let world = World::new();
    let (_, commit) = repository(&world);
    let backend = Backend::start(world.directory.path().to_owned());
    let source = playbook(&format!("http://{}/repo", backend.address), Some("main"));
    let into = world.job("into");
    let error = world.fetch(&source, &into).unwrap_err().to_string();
    assert!(error.contains("it wants a credential"), "{error}");
    let wrong = credential("hunter2hunter2");
    let error = world.fetch_with(&source, &into, Some(&wrong), None);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("git couldn't fetch"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let right = credential(PASSWORD);
    let fetched = world
        .fetch_with(&source, &into, Some(&right), None)
        .unwrap();
    assert_eq!(fetched.revision, Some(commit));
    for place in ["cache", "into"] {
        let all = snapshot(&world.directory.path().join(place));
        assert!(
            !all.iter()
                .any(|it| it.contains("word:1") || it.contains("word%3A1"))
        );
    }
    // Who has no right now reads nothing, although the mirror holds it.
    let again = world.job("again");
    assert!(
        world
            .fetch_with(&source, &again, Some(&wrong), None)
            .is_err()
    );
    assert_eq!(snapshot(&again), [""; 0]);
}

#[test]
fn a_server_that_redirects_is_not_followed() {
    let world = World::new();
    let (_, _) = repository(&world);
    let backend = Backend::start(world.directory.path().to_owned());
    let to = format!(
        "http://{}/repo/info/refs?service=git-upload-pack",
        backend.address
    );
    let server = Server::start(vec![(
        "/x/info/refs?service=git-upload-pack",
        Answer::Redirect(to),
    )]);
    let source = playbook(&server.url("/x"), None);
    let into = world.job("into");
    let right = credential(PASSWORD);
    let error = world.fetch_with(&source, &into, Some(&right), None);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("the server redirects"), "{error}");
    fs::remove_dir(into).unwrap();
}
