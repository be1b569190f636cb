//! S3: gives up every right and becomes the step's command.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, PipeWriter, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::leftovers;
use crate::plan::{Command, Isolation, Shell};
use crate::sys::{self, Resource};
use crate::wire::{Fault, Orders};

/// How willingly the kernel picks the step when memory runs out everywhere:
/// before the master and other services (0), after what asks for it (1000).
const OOM_SCORE_ADJUST: &str = "500";

/// Where programs are looked up when the step's environment has no `PATH`.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// What shells answer for a program that does not exist, or is none.
const EXIT_NOT_FOUND: i32 = 127;
const EXIT_NOT_EXECUTABLE: i32 = 126;

/// Files a step may have open when nobody set a limit: the usual soft limit
/// would be the caller's own, raised for its sockets.
const OPEN_FILES_DEFAULT: u64 = 65_536;

/// Opens the files by which the main process will enter its cgroup.
pub(crate) fn open_cgroups(orders: &Orders) -> Result<Vec<(PathBuf, File)>, Fault> {
    let mut files = Vec::new();
    for path in &orders.cgroups {
        let file = File::options()
            .write(true)
            .open(path)
            .map_err(Fault::of("open", path))?;
        files.push((path.clone(), file));
    }
    Ok(files)
}

/// Never returns: becomes the command, or says through `complain` why it cannot.
pub(crate) fn become_command(
    orders: &Orders,
    cgroups: &[(PathBuf, File)],
    mut complain: PipeWriter,
) -> ! {
    let fault = match prepare(orders, cgroups) {
        Ok(None) => sys::exit(0),
        Ok(Some(command)) => command.start(),
        Err(fault) => fault,
    };
    let text = serde_json::to_vec(&fault).unwrap_or_default();
    // If S2 does not listen it is dead, and so are we.
    let _ = complain.write_all(&text);
    sys::exit(EXIT_NOT_FOUND)
}

fn prepare(orders: &Orders, cgroups: &[(PathBuf, File)]) -> Result<Option<Ready>, Fault> {
    sys::become_session_leader().map_err(Fault::of("begin", "session"))?;
    for (path, file) in cgroups {
        let mut file: &File = file;
        file.write_all(b"0")
            .map_err(Fault::of("join cgroup", path))?;
    }
    volunteer_for_oom();
    limit(orders)?;
    drop_rights(orders)?;
    let cwd = &orders.cwd;
    std::env::set_current_dir(cwd).map_err(Fault::of("enter working directory", cwd))?;
    sys::reset_signals().map_err(Fault::of("reset", "signals"))?;
    Ok(orders
        .command
        .as_ref()
        .map(|command| Ready::of(command, &orders.env)))
}

/// Best effort: where it is refused the step competes as an equal.
fn volunteer_for_oom() {
    // The file is root's as long as our memory is hidden.
    let _ = sys::show_memory();
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJUST);
    let _ = sys::hide_memory();
}

fn limit(orders: &Orders) -> Result<(), Fault> {
    // A core file would hold the step's secrets. Not 0: a `core_pattern` that pipes
    // to a program heeds no limit but 1, which stops it (core(5)), and no file fits
    // into one byte.
    let mut limits = vec![(Resource::CoreBytes, 1)];
    limits.push((
        Resource::OpenFiles,
        orders.open_files.unwrap_or(OPEN_FILES_DEFAULT),
    ));
    if let Some(most) = orders.user_processes {
        let own_count = orders.uid_gid.is_some()
            || matches!(
                orders.isolation,
                Isolation::Namespaces {
                    user_namespace: true,
                    ..
                }
            );
        // The kernel counts all of the user's, the caller's other work too.
        let others = if own_count {
            0
        } else {
            leftovers::own_threads()
        };
        limits.push((Resource::Processes, most.saturating_add(others)));
    }
    for (resource, value) in limits {
        sys::set_limit(resource, value).map_err(Fault::of("limit", format!("{resource:?}")))?;
    }
    Ok(())
}

fn drop_rights(orders: &Orders) -> Result<(), Fault> {
    sys::drop_capability_bounds().map_err(Fault::of("drop", "capability bounds"))?;
    let done_before = matches!(
        orders.isolation,
        Isolation::Namespaces {
            user_namespace: true,
            ..
        }
    );
    if let (Some((uid, gid)), false) = (orders.uid_gid, done_before) {
        sys::become_user(uid, gid).map_err(Fault::of("become", format!("uid {uid}")))?;
    }
    sys::leave_keyrings(orders.uid_gid.is_some());
    sys::clear_capabilities().map_err(Fault::of("drop", "capabilities"))?;
    sys::forbid_new_privileges().map_err(Fault::of("forbid", "new privileges"))
}

/// A command with everything `execve` wants.
struct Ready {
    /// The first of them that exists is started.
    candidates: Vec<CString>,
    args: Vec<CString>,
    env: Vec<CString>,
    /// A missing shell is our problem to report; a missing program the step's own.
    is_shell: bool,
}

impl Ready {
    fn of(command: &Command, env: &[(String, String)]) -> Self {
        let args: Vec<OsString> = match command {
            Command::Script {
                text,
                shell: Shell::Sh,
            } => ["/bin/sh", "-eu", "-c", text].map(OsString::from).into(),
            Command::Script {
                text,
                shell: Shell::Bash,
            } => ["bash", "-euo", "pipefail", "-c", text]
                .map(OsString::from)
                .into(),
            Command::Argv(args) => args.clone(),
        };
        let path = env
            .iter()
            .find(|(name, _)| name == "PATH")
            .map(|(_, value)| value.as_str());
        Self {
            candidates: candidates(&args[0], path.unwrap_or(PATH_DEFAULT)),
            args: args.into_iter().map(c_string).collect(),
            env: env
                .iter()
                .map(|(name, value)| c_string(format!("{name}={value}").into()))
                .collect(),
            is_shell: matches!(command, Command::Script { .. }),
        }
    }

    /// Returns only the fault of a shell that would not start.
    fn start(self) -> Fault {
        let mut reason = io::Error::from_raw_os_error(libc::ENOENT);
        for program in &self.candidates {
            let Err(error) = sys::execve(program, &self.args, &self.env);
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(libc::EACCES) => reason = error,
                _ => {
                    reason = error;
                    break;
                }
            }
        }
        let name = Path::new(OsStr::from_bytes(self.args[0].as_bytes()));
        let code = match reason.raw_os_error() {
            Some(libc::ENOENT) => EXIT_NOT_FOUND,
            Some(libc::EACCES | libc::ENOEXEC | libc::EISDIR) => EXIT_NOT_EXECUTABLE,
            // Too long, too many processes, no memory: not the command's fault.
            _ => return Fault::of("start", name)(reason),
        };
        if self.is_shell {
            return Fault::of("start shell", name)(reason);
        }
        let why = if code == EXIT_NOT_FOUND {
            "command not found"
        } else {
            "cannot execute"
        };
        // The exit code says it too.
        let _ = writeln!(io::stderr(), "danube: {}: {why}", name.display());
        sys::exit(code)
    }
}

/// Where `execvp` would look for a program.
fn candidates(program: &OsStr, path: &str) -> Vec<CString> {
    if program.as_bytes().contains(&b'/') {
        return vec![c_string(program.to_owned())];
    }
    if program.is_empty() {
        return Vec::new();
    }
    // An empty part means the working directory, as shells have it.
    path.split(':')
        .map(|dir| c_string(Path::new(dir).join(program).into_os_string()))
        .collect()
}

fn c_string(text: OsString) -> CString {
    CString::new(text.into_vec()).expect("the caller refused NUL bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_up_as_shells_do() {
        let found = |program: &str, path| {
            let all = candidates(OsStr::new(program), path);
            all.into_iter()
                .map(|it| it.into_string().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(found("ls", "/a:/b"), ["/a/ls", "/b/ls"]);
        assert_eq!(found("./ls", "/a"), ["./ls"]);
        assert_eq!(found("ls", ""), ["ls"]);
        assert_eq!(found("", "/a"), [""; 0]);
    }
}
