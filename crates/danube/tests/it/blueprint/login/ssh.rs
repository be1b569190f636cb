//! A repository behind an sshd of our own, which lets in one key.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{master, nowhere_on_the_disk, refused, set};
use crate::blueprint::served::{Served, in_force, pipeline, shown};
use crate::playbooks::git;

/// Where systems keep it, beside `PATH`.
const SSHD: &str = "/usr/sbin/sshd";

/// An sshd for each connection, as an inetd starts it: it needs no port of its own. Ended when
/// dropped.
struct Sshd {
    own: TempDir,
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sshd {
    fn start() -> Self {
        let own = tempfile::tempdir().unwrap();
        let path = |name: &str| own.path().join(name).display().to_string();
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nLogLevel ERROR\n",
            path("host"),
            path("keys")
        );
        fs::write(own.path().join("config"), config).unwrap();
        new_key(own.path(), "host");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let (seen, config) = (Arc::clone(&ended), own.path().join("config"));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::SeqCst) {
                    return;
                }
                serve(stream.unwrap(), &config);
            }
        });
        Self {
            own,
            address,
            ended,
            thread: Some(thread),
        }
    }

    /// The one key that is let in from now on.
    fn lets_in(&self, public: &str) {
        fs::write(self.own.path().join("keys"), public).unwrap();
    }

    fn url(&self, repository: &Path) -> String {
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        let path = repository.display();
        format!("ssh://{}@{}{path}", user.trim(), self.address)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Serves one connection to its end. As root it wants a directory that systems make at their
/// start; here it is there for this sshd alone.
fn serve(stream: TcpStream, config: &Path) {
    let made = "mount -t tmpfs none /run; mkdir /run/sshd; exec \"$@\"";
    let words: &[&str] = match rustix::process::geteuid().is_root() {
        true => &["unshare", "--mount", "sh", "-euc", made, "sh", SSHD],
        false => &[SSHD],
    };
    let out: OwnedFd = stream.try_clone().unwrap().into();
    let status = Command::new(words[0])
        .args(&words[1..])
        .args(["-i", "-e", "-f"])
        .arg(config)
        .stdin(OwnedFd::from(stream))
        .stdout(out)
        .stderr(Stdio::null())
        .status();
    // Whoever isn't let in is an end like others.
    status.unwrap();
}

/// A new key; its public half, and its private one.
fn new_key(dir: &Path, name: &str) -> (String, String) {
    let path = dir.join(name);
    let public = path.with_extension("pub");
    for old in [&path, &public] {
        let _ = fs::remove_file(old);
    }
    let words = [
        "-q",
        "-t",
        "ed25519",
        "-N",
        "",
        "-C",
        "a key of a test",
        "-f",
    ];
    let status = Command::new("ssh-keygen").args(words).arg(&path).status();
    assert!(status.unwrap().success());
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
    (read(&public), read(&path))
}

fn credential(private: &str) -> Value {
    json!({"kind": "git", "private_key": private})
}

/// A line of a private key that nothing else has.
fn middle(private: &str) -> &str {
    private.lines().nth(2).unwrap()
}

#[test]
fn a_key_opens_the_repository_and_another_one_from_the_next_look_on() {
    if !Path::new(SSHD).exists() {
        eprintln!("skipped: a blueprint over ssh needs sshd (`make deps` installs it)");
        return;
    }
    let served = Served::new();
    let first = git(&served.dir(), &["rev-parse", "HEAD"]);
    let sshd = Sshd::start();
    let keys = tempfile::tempdir().unwrap();
    let (public, private) = new_key(keys.path(), "first");
    let (newer_public, newer) = new_key(keys.path(), "second");
    sshd.lets_in(&public);
    let master = master(&sshd.url(&served.dir()));
    set(&master, &credential(&newer));
    refused(
        &master,
        "failed",
        "Permission denied (publickey)",
        &[middle(&newer)],
    );
    set(&master, &credential(&private));
    in_force(&master, &first);
    nowhere_on_the_disk(&master.dir, middle(&private));

    sshd.lets_in(&newer_public);
    served.write("pipelines/late.yaml", &pipeline("late", ""));
    let late = served.commit();
    refused(
        &master,
        "degraded",
        "Permission denied (publickey)",
        &[middle(&private)],
    );
    assert_eq!(shown(&master)["commit"], first.as_str());
    set(&master, &credential(&newer));
    in_force(&master, &late);

    // Somebody else answers at that address: it is shown nothing, and told.
    new_key(sshd.own.path(), "host");
    refused(
        &master,
        "degraded",
        "Host key verification failed",
        &[middle(&newer)],
    );
}
