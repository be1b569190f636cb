//! A systemd of its own, with the units of `deploy/systemd` as the docs install them.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::master::{DANUBE, DEADLINE};
use crate::processes::{root_or_skip, until};

/// Where the repository is.
pub(super) fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap()
}

/// Settings for a test: any free port, and a log that can be read.
const SETTINGS: &str = "DANUBE_SERVER_LISTEN=127.0.0.1:0\nDANUBE_SERVER_GRACE_SECONDS=5\n";

/// What a test changes of each unit: it is back sooner, and there is no journal.
const DROP_IN: &str = "[Service]\nRestartSec=1\nStandardOutput=append:/run/%N.log\n\
                       StandardError=append:/run/%N.log\n";

/// A machine without a kernel of its own. All of it ends when this is dropped.
pub(super) struct Machine {
    boot: Child,
    /// Of its PID 1, as we see it.
    init: u32,
    name: String,
    dir: TempDir,
}

impl Machine {
    /// Boots; `None` where this machine doesn't allow it, which is said then.
    pub(super) fn boot() -> Option<Self> {
        if !root_or_skip("booting a systemd in namespaces of its own") {
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("danube-test-{}-{next}", std::process::id());
        let dir = tempfile::tempdir().unwrap();
        let log = fs::File::create(dir.path().join("boot.log")).unwrap();
        let script = root().join("crates/danube/tests/it/systemd/boot.sh");
        // Ends with this thread, whatever becomes of us.
        let boot = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "sh"])
            .arg(script)
            .arg(&name)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut machine = Self {
            boot,
            init: 0,
            name,
            dir,
        };
        let is_up = until("systemd is up, or says why not", DEADLINE, || {
            if machine.boot.try_wait().unwrap().is_some() {
                return Some(false);
            }
            machine.init = machine.child_of_boot()?;
            let state = machine.run("systemctl is-system-running");
            let state = String::from_utf8_lossy(&state.stdout).into_owned();
            ["running", "degraded"]
                .contains(&state.trim())
                .then_some(true)
        });
        if !is_up {
            let said = fs::read_to_string(machine.dir.path().join("boot.log")).unwrap();
            eprintln!("skipped: no systemd can be booted here: {said}");
            return None;
        }
        machine.write("/run/test/danube.env", SETTINGS);
        machine.sh("mkdir -p /etc/danube && cp /run/test/danube.env /etc/danube/");
        for unit in ["danube", "danube-master", "danube-worker", "danube-jobs@"] {
            let dir = format!("/etc/systemd/system/{unit}.service.d");
            machine.sh(&format!("mkdir -p '{dir}'"));
            machine.write(&format!("{dir}/test.conf"), DROP_IN);
        }
        Some(machine)
    }

    fn child_of_boot(&self) -> Option<u32> {
        let boot = self.boot.id();
        let children = fs::read_to_string(format!("/proc/{boot}/task/{boot}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// Runs a line of shell in it, at the repository's root and with the program beside.
    pub(super) fn run(&self, line: &str) -> Output {
        let init = self.init.to_string();
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["-t", &init, "-m", "-p", "-i", "-u", "-C"]);
        nsenter
            .args(["sh", "-c"])
            .arg(format!("cd {} && {line}", root().display()))
            .stdin(Stdio::null());
        nsenter.output().unwrap()
    }

    /// The same; what it says. It has to work.
    #[track_caller]
    pub(super) fn sh(&self, line: &str) -> String {
        let output = self.run(line);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{line}: {}, {:?}: {said}{errors}{}",
            output.status,
            output.status.signal(),
            self.logs()
        );
        said
    }

    /// A property of a unit.
    #[track_caller]
    pub(super) fn property(&self, unit: &str, name: &str) -> String {
        let line = format!("systemctl show -p {name} --value '{unit}'");
        self.sh(&line).trim().to_owned()
    }

    /// Writes a file in it.
    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A file of it, as we see it.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// What the services said, for a test that fails.
    pub(super) fn logs(&self) -> String {
        let mut all = String::new();
        for unit in ["danube", "danube-master", "danube-worker"] {
            let text = fs::read_to_string(self.path(&format!("/run/{unit}.log")));
            let text = text.unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(20)..];
            all.push_str(&format!("\n{unit}: {}", last.join("\n")));
        }
        all
    }

    /// The main process of a service, by the id that we know it by.
    #[track_caller]
    pub(super) fn main_pid(&self, unit: &str) -> u32 {
        let inside = self.property(unit, "MainPID");
        // The last id is that in its own namespace; the units' own is the machine's.
        let ours = fs::read_link(format!("/proc/{}/ns/pid", self.init)).unwrap();
        let mut all = self.processes().into_iter().filter(|it| {
            let is_ours = fs::read_link(it.join("ns/pid")).is_ok_and(|it| it == ours);
            let status = fs::read_to_string(it.join("status")).unwrap_or_default();
            let ids = status.lines().find(|it| it.starts_with("NSpid:"));
            is_ours && ids.is_some_and(|it| it.split_whitespace().last() == Some(&inside))
        });
        let found = all
            .next()
            .unwrap_or_else(|| panic!("no process {inside} of {unit}"));
        found
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// A line of `/proc/PID/status` of a service's main process.
    #[track_caller]
    pub(super) fn status_of(&self, unit: &str, name: &str) -> String {
        let pid = self.main_pid(unit);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix(name));
        line.unwrap().trim_start_matches(':').trim().to_owned()
    }

    /// The client's commands against the server with this data directory.
    pub(super) fn danube(&self, data_dir: &str, arguments: &[&str]) -> Output {
        let address = fs::read_to_string(self.path(&format!("{data_dir}/master.addr"))).unwrap();
        let key = fs::read_to_string(self.path(&format!("{data_dir}/admin.key"))).unwrap();
        Command::new(DANUBE)
            .args(arguments)
            .env("DANUBE_SERVER", format!("http://{}", address.trim()))
            .env("DANUBE_API_KEY", key.trim())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a script as a job to its end; its log.
    #[track_caller]
    pub(super) fn job(&self, data_dir: &str, script: &str) -> String {
        let arguments = ["submit", "-f", "--exit-code", "--", "sh", "-c", script];
        let output = self.danube(data_dir, &arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}{}", self.logs());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Whether a process in it has exactly this command line.
    pub(super) fn has_process(&self, words: &[&str]) -> bool {
        let line: String = words.iter().map(|it| format!("{it}\0")).collect();
        self.processes().iter().any(|it| {
            let found = fs::read(it.join("cmdline"));
            found.is_ok_and(|it| it == line.as_bytes())
        })
    }

    /// All that run in it, those of jobs in namespaces of their own included.
    fn processes(&self) -> Vec<PathBuf> {
        let all = fs::read_dir("/proc").unwrap().map(|it| it.unwrap().path());
        let is_in_it = |it: &PathBuf| {
            let groups = fs::read_to_string(it.join("cgroup")).unwrap_or_default();
            groups.contains(&format!("/{}/", self.name))
        };
        all.filter(is_in_it).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its PID 1 dies with it, and the kernel ends all the others.
        let _ = self.boot.kill();
        let _ = self.boot.wait();
        remove_cgroups(&self.name);
    }
}

/// The machine's part of each tree. Its last processes may take a moment to go.
fn remove_cgroups(name: &str) {
    let remove = format!(
        "find /sys/fs/cgroup -depth -type d -path '*/{name}*' -exec rmdir {{}} + 2>/dev/null; \
         test -z \"$(find /sys/fs/cgroup -type d -name '{name}')\""
    );
    until("its cgroups are gone", Duration::from_secs(20), || {
        let removed = Command::new("sh").args(["-c", &remove]).status();
        removed.unwrap().success().then_some(())
    });
}
