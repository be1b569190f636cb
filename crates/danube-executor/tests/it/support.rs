//! The words the tests are written in.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use danube_executor::{
    Capabilities, Command, Control, ExecutorError, Isolation, Output, Sandbox, Shell, StepOutcome,
    StepPlan, Stream, UID_BASE_DEFAULT, UidLease, UidPool, Workspace, probe, run_step,
};

/// Longest wait for an event that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn capabilities() -> &'static Capabilities {
    static FOUND: LazyLock<Capabilities> = LazyLock::new(|| probe(Some(UID_BASE_DEFAULT)));
    &FOUND
}

pub(crate) fn plain_namespaces() -> bool {
    matches!(
        capabilities().isolation,
        Isolation::Namespaces {
            user_namespace: false,
            ..
        }
    )
}

/// Every kind of wall that works here, and a note on those that do not.
pub(crate) fn isolations() -> Vec<Isolation> {
    let mut all = vec![Isolation::ProcessGroup];
    for user_namespace in [false, true] {
        let isolation = Isolation::Namespaces {
            user_namespace,
            network: false,
        };
        let job = Job::with(isolation);
        match job.run(job.sh("exit 0")) {
            Ok(_) => all.push(isolation),
            Err(error) => eprintln!("skipped: {isolation:?}: {error}"),
        }
    }
    all
}

/// A job: a directory (which its user may pass through), a workspace, a uid.
pub(crate) struct Job {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) workspace: Workspace,
    pub(crate) uid: Option<UidLease>,
    pub(crate) isolation: Isolation,
}

impl Job {
    /// Behind the strongest walls there are.
    pub(crate) fn new() -> Self {
        Self::with(capabilities().isolation)
    }

    pub(crate) fn with(isolation: Isolation) -> Self {
        static POOL: OnceLock<UidPool> = OnceLock::new();
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let uid = is_root().then(|| POOL.get_or_init(UidPool::default).lease().unwrap());
        let owner = uid.as_ref().map(UidLease::uid_gid);
        let workspace = Workspace::create(dir.path(), "job", owner).unwrap();
        Self {
            dir,
            workspace,
            uid,
            isolation,
        }
    }

    pub(crate) fn plan(&self, command: Command) -> StepPlan {
        let sandbox = Sandbox {
            isolation: self.isolation,
            uid_gid: self.uid.as_ref().map(UidLease::uid_gid),
            ..Sandbox::default()
        };
        let mut plan = StepPlan::new(command, self.workspace.path(), sandbox);
        plan.env = vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())];
        plan
    }

    pub(crate) fn sh(&self, text: &str) -> StepPlan {
        self.plan(Command::Script {
            text: text.into(),
            shell: Shell::Sh,
        })
    }

    #[expect(clippy::needless_pass_by_value, reason = "reads better in the tests")]
    pub(crate) fn run(&self, plan: StepPlan) -> Result<Ran, ExecutorError> {
        run_with(&plan, &Control::new().unwrap(), Collect::default())
    }

    /// A named pipe in the workspace, for everybody.
    pub(crate) fn fifo(&self, name: &str) -> PathBuf {
        let path = self.workspace.path().join(name);
        let (kind, mode) = (FileType::Fifo, Mode::from_raw_mode(0o666));
        mknodat(CWD, &path, kind, mode, 0).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        path
    }

    /// A named pipe in the workspace that tells when nobody holds it any more.
    pub(crate) fn lifeline(&self) -> Lifeline {
        Lifeline::open(&self.fifo("lifeline"))
    }
}

pub(crate) fn is_root() -> bool {
    rustix::fs::stat("/proc/self").unwrap().st_uid == 0
}

/// Holders write to it with `exec 9>lifeline`.
pub(crate) struct Lifeline(fs::File);

impl Lifeline {
    pub(crate) fn open(path: &Path) -> Self {
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        Self(
            fs::OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(path)
                .unwrap(),
        )
    }

    /// Nobody holds it now, and whoever held it is gone.
    pub(crate) fn is_free(&mut self) -> bool {
        let mut byte = [0];
        loop {
            match self.0.read(&mut byte) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Waits for something that must happen.
pub(crate) fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::yield_now();
    }
}

#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) outcome: StepOutcome,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Keeps all output, and calls `on_first` at the first of it.
#[derive(Default)]
pub(crate) struct Collect<'a> {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    pub(crate) on_first: Option<Box<dyn FnOnce() + 'a>>,
}

impl<'a> Collect<'a> {
    pub(crate) fn on_first(action: impl FnOnce() + 'a) -> Self {
        Self {
            on_first: Some(Box::new(action)),
            ..Self::default()
        }
    }
}

impl Output for Collect<'_> {
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            Stream::Stdout => self.stdout.extend(bytes),
            Stream::Stderr => self.stderr.extend(bytes),
        }
        if let Some(action) = self.on_first.take() {
            action();
        }
        Ok(())
    }
}

pub(crate) fn run_with(
    plan: &StepPlan,
    control: &Control,
    mut output: Collect<'_>,
) -> Result<Ran, ExecutorError> {
    let outcome = run_step(plan, control, &mut output)?;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ok(Ran {
        outcome,
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    })
}

/// All processes of the machine whose `/proc` file holds `text`.
pub(crate) fn processes_with(file: &str, text: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().map(|it| it.unwrap().path());
    entries
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .parse::<i32>()
                .is_ok()
        })
        .filter(|path| {
            let found = fs::read(path.join(file)).unwrap_or_default();
            found.windows(text.len()).any(|it| it == text.as_bytes())
        })
        .collect()
}
