//! A real master in a process of its own, and what a stranger does with it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use ureq::http::{Request, Response};
use ureq::{Agent, Body, SendBody};

/// How long anything may take that is bound to happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) const DANUBE: &str = env!("CARGO_BIN_EXE_danube");

/// A running master. Killed when dropped.
pub(crate) struct Master {
    child: Child,
    /// Its data directory.
    pub(crate) dir: PathBuf,
    /// `http://127.0.0.1:PORT`
    pub(crate) address: String,
    /// The admin key.
    pub(crate) key: String,
    lines: Arc<Lines>,
    agent: Agent,
    /// Removed with the master, when it made the directory itself.
    _own: Option<TempDir>,
}

/// What the master wrote to standard output and error, line by line.
#[derive(Default)]
pub(crate) struct Lines {
    state: Mutex<(Vec<String>, String)>,
    /// Held while nothing of the log is to be read.
    gate: Mutex<()>,
    grown: Condvar,
}

/// An answer: status, headers in lower case, body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(it, _)| it == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }
}

impl Master {
    /// A master in a fresh directory, on a free port.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// The same with more arguments.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        let own = tempfile::tempdir().expect("make a directory");
        let dir = own.path().join("data");
        let mut master = Self::start_in(&dir, arguments);
        master._own = Some(own);
        master
    }

    /// The same with these variables in its environment.
    pub(crate) fn in_environment(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let own = tempfile::tempdir().expect("make a directory");
        let mut command = Command::new(DANUBE);
        command.envs(variables.iter().copied());
        let mut master = Self::launch(command, &own.path().join("data"), arguments)
            .unwrap_or_else(|said| panic!("the master didn't start: {said}"));
        master._own = Some(own);
        master
    }

    /// A master in this directory; panics with what it said when it doesn't start.
    pub(crate) fn start_in(dir: &Path, arguments: &[&str]) -> Self {
        Self::try_start_in(dir, arguments)
            .unwrap_or_else(|said| panic!("the master didn't start: {said}"))
    }

    /// A master in this directory, started by another program: the words before its
    /// own arguments.
    pub(crate) fn start_by(words: &[&str], dir: &Path, arguments: &[&str]) -> Self {
        let (program, words) = words.split_first().expect("a program");
        let mut command = Command::new(program);
        command.args(words);
        Self::launch(command, dir, arguments)
            .unwrap_or_else(|said| panic!("the master didn't start: {said}"))
    }

    /// The same, or what it said on standard error.
    pub(crate) fn try_start_in(dir: &Path, arguments: &[&str]) -> Result<Self, String> {
        Self::launch(Command::new(DANUBE), dir, arguments)
    }

    /// A master that another program starts and that may be killed before it serves: then,
    /// what it said. `begun` is told its process once it is there.
    pub(crate) fn start_watched(
        words: &[&str],
        dir: &Path,
        begun: impl FnOnce(u32),
    ) -> Result<Self, String> {
        let (program, words) = words.split_first().expect("a program");
        let mut command = Command::new(program);
        command.args(words);
        Self::launch_watched(command, dir, &[], begun)
    }

    fn launch(command: Command, dir: &Path, arguments: &[&str]) -> Result<Self, String> {
        Self::launch_watched(command, dir, arguments, |_| ())
    }

    fn launch_watched(
        mut command: Command,
        dir: &Path,
        arguments: &[&str],
        begun: impl FnOnce(u32),
    ) -> Result<Self, String> {
        let mut child = command
            .args(["master", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir)
            .args(arguments)
            .env_remove("DANUBE_SERVER")
            .env_remove("DANUBE_API_KEY")
            // How full the disk of the machine is that runs the tests says nothing of Danube.
            .env("DANUBE_HEALTH_DISK_FREE_PERCENT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start danube");
        begun(child.id());
        let lines = Arc::new(Lines::default());
        let errors = lines.collect_errors(child.stderr.take().expect("piped"));
        lines.collect_log(child.stdout.take().expect("piped"), errors);
        let ready =
            lines.wait_for(|event| event["event"] == "master_ready" || event["event"] == "(end)");
        if ready["event"] != "master_ready" {
            let _ = child.wait();
            return Err(lines.errors());
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(DEADLINE))
            .build()
            .new_agent();
        let listens = ready["address"].as_str().expect("an address");
        assert_eq!(
            fs::read_to_string(dir.join("master.addr")).ok(),
            Some(format!("{listens}\n"))
        );
        let address = format!("http://{listens}");
        let key = fs::read_to_string(dir.join("admin.key"))
            .expect("the admin key")
            .trim()
            .to_owned();
        Ok(Self {
            child,
            dir: dir.to_owned(),
            address,
            key,
            lines,
            agent,
            _own: None,
        })
    }

    /// The process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and the end of the process.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill the master");
        self.child.wait().expect("wait for the master");
    }

    /// Sends a signal by name (`TERM`).
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status();
        assert!(sent.expect("run kill").success());
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + DEADLINE;
        // Standard output closes when the process ends.
        self.lines.wait_for(|event| event["event"] == "(end)");
        assert!(Instant::now() < until);
        self.child.wait().expect("wait for the master")
    }

    /// Waits for an event of the server log for which `wanted` holds.
    pub(crate) fn event(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.lines.wait_for(wanted)
    }

    /// Every line of the server log so far.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.lines.log_lines()
    }

    /// Reads nothing of the server log until the guard goes.
    pub(crate) fn hold_output(&self) -> MutexGuard<'_, ()> {
        self.lines.gate.lock().expect("the gate")
    }

    /// What it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.lines.errors()
    }

    /// What to look at when it doesn't answer.
    fn last_words(&self) -> String {
        let lines = self.log_lines();
        let last = lines[lines.len().saturating_sub(5)..].join("\n");
        let is_alive = Path::new(&format!("/proc/{}/exe", self.pid())).exists();
        format!("alive: {is_alive}\n{}\n{last}", self.stderr())
    }

    /// A request with the admin key.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let key = format!("Bearer {}", self.key);
        let body = body.map(|it| it.to_string().into_bytes());
        let mut headers = vec![("authorization", key.as_str())];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        self.request(method, path, &headers, body.as_deref().unwrap_or_default())
    }

    /// A request with exactly these headers and this body.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let answer = self.open(method, path, headers, body);
        let status = answer.status().as_u16();
        let headers = answer.headers().iter().map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        });
        let headers = headers.collect();
        let body = answer
            .into_body()
            .with_config()
            .limit(1 << 30)
            .read_to_vec();
        let body = body.unwrap_or_else(|error| {
            panic!("the answer broke off: {error}; {}", self.last_words());
        });
        Answer {
            status,
            headers,
            body,
        }
    }

    /// The same, with the body left to be read.
    pub(crate) fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = SendBody::from_owned_reader(std::io::Cursor::new(body.to_vec()));
        let answer = self.agent.run(request.body(body).expect("a request"));
        answer.unwrap_or_else(|error| {
            panic!("no answer: {error}; {}", self.last_words());
        })
    }

    /// GET with the admin key.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None)
    }

    /// Submits a body; panics unless it is accepted. Returns the job.
    #[track_caller]
    pub(crate) fn submit(&self, body: &Value) -> Value {
        let answer = self.call("POST", "/api/v1/jobs", Some(body));
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()
    }

    /// Submits one step with this script; returns the job's id.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> String {
        id(&self.submit(&one_step(script)))
    }

    /// The job as it is now.
    #[track_caller]
    pub(crate) fn job(&self, id: &str) -> Value {
        let answer = self.get(&format!("/api/v1/jobs/{id}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Waits until the job has ended (its followed log ends then); returns it.
    #[track_caller]
    pub(crate) fn ended(&self, id: &str) -> Value {
        let answer = self.get(&format!("/api/v1/jobs/{id}/logs?follow=1"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let job = self.job(id);
        assert!(is_terminal(&job), "{job}");
        job
    }

    /// Follows the log until it holds `text`.
    #[track_caller]
    pub(crate) fn until_log(&self, id: &str, text: &str) {
        let key = format!("Bearer {}", self.key);
        let path = format!("/api/v1/jobs/{id}/logs?follow=1");
        let answer = self.open("GET", &path, &[("authorization", &key)], b"");
        assert_eq!(answer.status().as_u16(), 200);
        let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
        let mut body = answer.into_body().into_reader();
        while !String::from_utf8_lossy(&seen).contains(text) {
            let count = body.read(&mut piece).expect("read the log");
            assert!(
                count > 0,
                "the log ended without {text:?}: {}",
                String::from_utf8_lossy(&seen)
            );
            seen.extend_from_slice(&piece[..count]);
        }
    }

    /// The whole stored log.
    pub(crate) fn log(&self, id: &str) -> Vec<u8> {
        let answer = self.get(&format!("/api/v1/jobs/{id}/logs"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.body
    }

    /// The value of a metric, by its line's beginning; 0 when there is no such line.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find(|it| {
            it.strip_prefix(series)
                .is_some_and(|rest| rest.starts_with(' '))
        });
        line.and_then(|it| it.rsplit(' ').next())
            .and_then(|it| it.parse().ok())
            .unwrap_or(0.0)
    }

    /// The client commands against this master.
    pub(crate) fn danube(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(DANUBE)
            .args(arguments)
            .env("DANUBE_SERVER", &self.address)
            .env("DANUBE_API_KEY", &self.key)
            .stdin(Stdio::null())
            .output()
            .expect("run danube")
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // In a directory of somebody else's the next master may run already.
        if self._own.is_some() {
            remove_cgroups(&self.dir);
        }
    }
}

/// A killed master leaves its cgroups for its next start; this one has none.
fn remove_cgroups(dir: &Path) {
    let Ok(real) = dir.canonicalize() else { return };
    let hash = Sha256::digest(real.as_os_str().as_bytes());
    let name = format!(
        "danube-{:02x}{:02x}{:02x}{:02x}",
        hash[0], hash[1], hash[2], hash[3]
    );
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let path = path.trim_start_matches('/');
        for root in controllers.split(',').chain([""]) {
            let group = Path::new("/sys/fs/cgroup")
                .join(root)
                .join(path)
                .join(&name);
            let steps = fs::read_dir(&group).into_iter().flatten().flatten();
            for step in steps.filter(|it| it.path().is_dir()) {
                let _ = fs::remove_dir(step.path());
            }
            // Not there, or still in use by a step that is just being killed.
            let _ = fs::remove_dir(&group);
        }
    }
}

impl Lines {
    pub(crate) fn collect_errors(
        self: &Arc<Self>,
        from: impl Read + Send + 'static,
    ) -> JoinHandle<()> {
        let lines = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                lines.add(false, line);
            }
        })
    }

    /// The end is told once standard error has ended too, so that whoever waits
    /// for it knows all that was said.
    pub(crate) fn collect_log(
        self: &Arc<Self>,
        from: impl Read + Send + 'static,
        errors: JoinHandle<()>,
    ) {
        let lines = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                drop(lines.gate.lock().expect("the gate"));
                lines.add(true, line);
            }
            errors.join().expect("standard error was read");
            lines.add(true, json!({"event": "(end)"}).to_string());
        });
    }

    fn add(&self, is_log: bool, line: String) {
        let mut state = self.state.lock().expect("lines");
        if is_log {
            state.0.push(line);
        } else {
            state.1.push_str(&line);
            state.1.push('\n');
        }
        self.grown.notify_all();
    }

    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.state.lock().expect("lines").0.clone()
    }

    pub(crate) fn errors(&self) -> String {
        self.state.lock().expect("lines").1.clone()
    }

    pub(crate) fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + DEADLINE;
        let mut seen = 0;
        let mut state = self.state.lock().expect("lines");
        loop {
            for line in &state.0[seen..] {
                let event: Value = serde_json::from_str(line).unwrap_or_default();
                if wanted(&event) {
                    return event;
                }
            }
            seen = state.0.len();
            let left = until.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| {
                panic!(
                    "the event didn't come; log: {:#?}; stderr: {}",
                    state.0, state.1
                )
            });
            state = self.grown.wait_timeout(state, left).expect("lines").0;
        }
    }
}

/// A submit of one step.
pub(crate) fn one_step(script: &str) -> Value {
    json!({"spec": {"name": "test", "steps": [{"name": "only", "run": script}]}})
}

/// The id of a job.
#[track_caller]
pub(crate) fn id(job: &Value) -> String {
    job["id"].as_str().expect("an id").to_owned()
}

/// Whether the job has ended.
pub(crate) fn is_terminal(job: &Value) -> bool {
    ["success", "failure", "failed", "timeout", "cancelled"]
        .contains(&job["status"].as_str().unwrap_or_default())
}
