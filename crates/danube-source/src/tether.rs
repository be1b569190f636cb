//! Ties a program of somebody else's to the life of this one: the system kills it when the
//! thread that started it ends, whatever ended that. So no git waits for ever for a server that
//! says nothing, and no registry keeps its address from the next server.
//!
//! Only a process itself can ask the system for that, after it was forked and before the
//! program takes its place. So this very program is started first, as it is for sandboxes:
//! where its `main` knows nothing of that (in tests of a crate), nothing is tied.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

/// The first argument by which the program knows what it is asked to be.
const MARKER: &str = "--danube-tether";

/// What it ends with when it can't become the program, as shells have it.
pub(crate) const NO_PROGRAM: i32 = 127;

/// Whether this program's `main` becomes what the marker asks for.
static CAN_TIE: AtomicBool = AtomicBool::new(false);

/// The first line of `main`, beside that of the sandbox: becomes the program that the
/// arguments name, if they ask for it. Then it doesn't come back.
pub fn tether_main_if_asked() {
    CAN_TIE.store(true, Ordering::Relaxed);
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|it| it != MARKER) {
        return;
    }
    let parent = args.next().and_then(|it| it.to_str()?.parse::<i32>().ok());
    let Some((parent, program)) = parent.zip(args.next()) else {
        exit(NO_PROGRAM);
    };
    let is_tied = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    // A parent that has ended meanwhile is told of to nobody.
    if !is_tied || getppid().map(Pid::as_raw_pid) != Some(parent) {
        exit(NO_PROGRAM);
    }
    let error = Command::new(&program).args(args).exec();
    eprintln!("danube: start {}: {error}", program.display());
    exit(NO_PROGRAM);
}

/// The program, tied to the thread that starts it. Of our own environment it is given `PATH` alone.
pub fn tied(program: impl AsRef<OsStr>) -> Command {
    let path = std::env::var_os("PATH");
    let mut command = if CAN_TIE.load(Ordering::Relaxed) {
        // Also after the file was replaced by a newer one.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg(MARKER)
            .arg(getpid().as_raw_pid().to_string())
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env_clear().envs(path.map(|it| ("PATH", it)));
    command
}
