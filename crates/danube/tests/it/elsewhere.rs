//! A real worker in a process of its own, and a network between it and the master that
//! can be cut.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::master::{DANUBE, DEADLINE, Lines, Master};
use crate::processes::until;

/// A running worker process. Killed when dropped.
pub(crate) struct Elsewhere {
    child: Child,
    lines: Arc<Lines>,
    token: PathBuf,
    own: Option<TempDir>,
}

impl Elsewhere {
    /// A worker with this name, connected to the master.
    pub(crate) fn start(master: &Master, name: &str, arguments: &[&str]) -> Self {
        Self::start_by_way_of(master, &master.address, name, arguments)
    }

    /// The same by way of another address.
    pub(crate) fn start_by_way_of(
        master: &Master,
        address: &str,
        name: &str,
        arguments: &[&str],
    ) -> Self {
        let token = token(master, name);
        Self::with_token(address, &token, arguments)
    }

    /// A worker with this token.
    pub(crate) fn with_token(address: &str, token: &str, arguments: &[&str]) -> Self {
        let own = tempfile::tempdir().unwrap();
        let file = own.path().join("token");
        fs::write(&file, format!("{token}\n")).unwrap();
        let worker = Self::launch(Command::new(DANUBE), address, (own, file), arguments);
        worker.event("worker_connected");
        worker
    }

    /// A worker with this name that hears of jobs in this Redis, started by these words
    /// before its own.
    pub(crate) fn on_redis(
        (address, token): (&str, &str),
        redis: &str,
        words: &[&str],
        arguments: &[&str],
    ) -> Self {
        let mut command = match words.split_first() {
            None => Command::new(DANUBE),
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words).arg(DANUBE);
                command
            }
        };
        command.env("DANUBE_QUEUE_URL", redis);
        let own = tempfile::tempdir().unwrap();
        let file = own.path().join("token");
        fs::write(&file, format!("{token}\n")).unwrap();
        let worker = Self::launch(command, address, (own, file), arguments);
        worker.event("worker_connected");
        worker
    }

    /// A worker with these variables in its environment.
    pub(crate) fn in_environment(master: &Master, name: &str, variables: &[(&str, &str)]) -> Self {
        Self::in_environment_by_way_of(master, &master.address, name, variables)
    }

    /// The same by way of another address.
    pub(crate) fn in_environment_by_way_of(
        master: &Master,
        address: &str,
        name: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let own = tempfile::tempdir().unwrap();
        let file = own.path().join("token");
        fs::write(&file, format!("{}\n", token(master, name))).unwrap();
        let mut command = Command::new(DANUBE);
        command.envs(variables.iter().copied());
        let worker = Self::launch(command, address, (own, file), &[]);
        worker.event("worker_connected");
        worker
    }

    fn launch(
        mut command: Command,
        address: &str,
        (own, token): (TempDir, PathBuf),
        arguments: &[&str],
    ) -> Self {
        let mut child = command
            .args(["worker", "--server", address, "--token-file"])
            .arg(&token)
            .arg("--data-dir")
            .arg(own.path().join("data"))
            .args(arguments)
            .env_remove("DANUBE_SERVER")
            .env_remove("DANUBE_API_KEY")
            .env("DANUBE_SERVER_GRACE_SECONDS", "2")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Lines::default());
        let errors = lines.collect_errors(child.stderr.take().unwrap());
        lines.collect_log(child.stdout.take().unwrap(), errors);
        Self {
            child,
            lines,
            token,
            own: Some(own),
        }
    }

    /// Another process with the same token and directory, after this one was killed.
    pub(crate) fn again(mut self, address: &str) -> Self {
        self.kill();
        let own = self.own.take().unwrap();
        let own = (own, self.token.clone());
        let worker = Self::launch(Command::new(DANUBE), address, own, &[]);
        worker.event("worker_connected");
        worker
    }

    /// Waits for an event of its log.
    pub(crate) fn event(&self, name: &str) -> Value {
        let found = self
            .lines
            .wait_for(|it| it["event"] == name || it["event"] == "(end)");
        assert_eq!(found["event"], name, "{}", self.lines.errors());
        found
    }

    /// What it said to people.
    pub(crate) fn errors(&self) -> String {
        self.lines.errors()
    }

    /// Every line of its log so far.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.lines.log_lines()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and the end of the process.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.lines.wait_for(|it| it["event"] == "(end)");
        self.child.wait().unwrap()
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // A stopped process is killed as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the job is written down as running.
#[track_caller]
pub(crate) fn running(master: &Master, id: &str) {
    until("the job is shown as running", DEADLINE, || {
        (master.job(id)["status"] == "running").then_some(())
    });
}

/// Makes a worker and returns its token.
#[track_caller]
pub(crate) fn token(master: &Master, name: &str) -> String {
    let made = master.call("POST", "/api/v1/workers", Some(&json!({"name": name})));
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["token"].as_str().unwrap().to_owned()
}

/// A network between a worker and a master.
pub(crate) struct Wire {
    /// `http://127.0.0.1:PORT`, the same for as long as it lives.
    pub(crate) address: String,
    state: Arc<Mutex<WireState>>,
    held: Arc<Held>,
}

/// Holds up what a connection sends to the master beyond so many bytes.
#[derive(Default)]
struct Held {
    beyond: Mutex<Option<u64>>,
    changed: Condvar,
}

impl Held {
    fn set(&self, beyond: Option<u64>) {
        *self.beyond.lock().unwrap() = beyond;
        self.changed.notify_all();
    }

    /// Waits until so many bytes may be sent.
    fn pass(&self, bytes: u64) {
        let beyond = self.beyond.lock().unwrap();
        let is_held = |beyond: &mut Option<u64>| beyond.is_some_and(|it| bytes > it);
        let (_passed, late) = self
            .changed
            .wait_timeout_while(beyond, DEADLINE, is_held)
            .unwrap();
        assert!(!late.timed_out(), "nobody let it go on");
    }
}

struct WireState {
    /// Where it leads; none when it is cut.
    to: Option<String>,
    open: Vec<TcpStream>,
}

impl Wire {
    /// One that leads to this master.
    pub(crate) fn to(master: &Master) -> Self {
        Self::at("127.0.0.1", master)
    }

    /// The same, from this address of the machine.
    pub(crate) fn at(address: &str, master: &Master) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(WireState {
            to: None,
            open: Vec::new(),
        }));
        let held = Arc::new(Held::default());
        let (shared, holds) = (Arc::clone(&state), Arc::clone(&held));
        // It ends with the tests' process: nobody connects any more.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut state = shared.lock().unwrap();
                let server = state.to.as_ref().and_then(|it| TcpStream::connect(it).ok());
                let Some(server) = server else { continue };
                for (from, to, is_up) in [(&client, &server, true), (&server, &client, false)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let holds = is_up.then(|| Arc::clone(&holds));
                    thread::spawn(move || pump(from, to, holds.as_deref()));
                }
                state.open.extend([client, server]);
            }
        });
        let wire = Self {
            address,
            state,
            held,
        };
        wire.lead_to(master);
        wire
    }

    /// Leads to this master from now on.
    pub(crate) fn lead_to(&self, master: &Master) {
        let to = master.address.trim_start_matches("http://").to_owned();
        self.state.lock().unwrap().to = Some(to);
    }

    /// From now on no connection sends more than so many bytes to the master, until
    /// [`Wire::let_go`] or [`Wire::cut`].
    pub(crate) fn hold_beyond(&self, bytes: u64) {
        self.held.set(Some(bytes));
    }

    /// What is held up goes on.
    pub(crate) fn let_go(&self) {
        self.held.set(None);
    }

    /// Breaks every connection, and refuses others.
    pub(crate) fn cut(&self) {
        self.let_go();
        let mut state = self.state.lock().unwrap();
        state.to = None;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, held: Option<&Held>) {
    let mut piece = vec![0; 64 * 1024];
    let mut bytes = 0;
    while let Ok(count) = from.read(&mut piece) {
        bytes += count as u64;
        if let Some(held) = held {
            held.pass(bytes);
        }
        if count == 0 || to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
