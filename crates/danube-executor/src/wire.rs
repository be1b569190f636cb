//! What the caller and the sandbox say to each other, over one socket.
//!
//! Down: the plan once (four bytes of length, then JSON), then [`ORDER_TERM`]
//! and [`ORDER_KILL`] as single bytes. Up: one [`Report`] a line, as JSON. The
//! caller's end of the line, when it closes, means "kill everything".

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::ExecutorError;
use crate::plan::{Command, Isolation, Sandbox, StepPlan};

/// Order: TERM to every process of the step.
pub(crate) const ORDER_TERM: u8 = b'T';

/// Order: kill whatever is left, and report.
pub(crate) const ORDER_KILL: u8 = b'K';

/// Largest plan a sandbox accepts: the kernel takes 6 MiB of arguments and
/// environment at most, and JSON escapes may make much of them twice as long.
const PLAN_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// The part of a step's plan that the sandbox carries out.
#[derive(Serialize, Deserialize)]
pub(crate) struct Orders {
    /// `None` only tries out the walls and exits with 0.
    pub(crate) command: Option<Command>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: PathBuf,
    pub(crate) isolation: Isolation,
    pub(crate) uid_gid: Option<(u32, u32)>,
    pub(crate) hide: Vec<PathBuf>,
    pub(crate) expose: Vec<PathBuf>,
    pub(crate) private_tmp: Option<PathBuf>,
    pub(crate) open_files: Option<u64>,
    /// Limit by the kernel's count for the user, where no cgroup counts.
    pub(crate) user_processes: Option<u64>,
    /// Files to write `0` into, which moves the writer into a cgroup.
    pub(crate) cgroups: Vec<PathBuf>,
}

/// What the sandbox tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The main process ended; others still live. The raw wait status.
    MainEnded { status: i32 },
    /// Nobody lives.
    AllEnded(Totals),
    /// The step could not be started.
    Broken(Fault),
    /// S2 ended without a word, and with it the step. The raw wait status.
    KeeperDied { status: i32 },
}

/// The account of a step.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) status: i32,
    pub(crate) cpu_micros: u64,
    pub(crate) max_rss_bytes: u64,
    pub(crate) killed: u32,
}

/// A step on the way to the command that did not work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fault {
    what: String,
    place: String,
    errno: i32,
}

impl Fault {
    /// Says what was tried and where, for use in `map_err`.
    pub(crate) fn of(what: &str, place: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self {
            what: what.to_owned(),
            place: place.as_ref().display().to_string(),
            errno: error.raw_os_error().unwrap_or(match error.kind() {
                io::ErrorKind::UnexpectedEof => libc::EPIPE,
                _ => libc::EINVAL,
            }),
        }
    }
}

impl From<Fault> for ExecutorError {
    fn from(Fault { what, place, errno }: Fault) -> Self {
        Self::Setup {
            what,
            place,
            source: io::Error::from_raw_os_error(errno),
        }
    }
}

impl Orders {
    /// Reads a plan into orders, or says why they could not be carried out.
    pub(crate) fn of(plan: &StepPlan, cgroups: Vec<PathBuf>) -> Result<Self, ExecutorError> {
        let wrong = |why: &str| Err(ExecutorError::Plan(why.to_owned()));
        let has_nul = |text: &[u8]| text.contains(&0);
        match &plan.command {
            Command::Script { text, .. } if has_nul(text.as_bytes()) => {
                return wrong("the script holds a NUL byte");
            }
            Command::Argv(args) if args.is_empty() => return wrong("the command is empty"),
            Command::Argv(args) if args.iter().any(|it| has_nul(it.as_encoded_bytes())) => {
                return wrong("an argument holds a NUL byte");
            }
            _ => {}
        }
        for (name, value) in &plan.env {
            if name.is_empty() || name.contains('=') || has_nul(name.as_bytes()) {
                return Err(ExecutorError::Plan(format!(
                    "{name:?} cannot name a variable"
                )));
            }
            if has_nul(value.as_bytes()) {
                return Err(ExecutorError::Plan(format!(
                    "the value of {name} holds a NUL byte"
                )));
            }
        }
        let mut orders = Self::walls(&plan.sandbox, cgroups)?;
        orders.command = Some(plan.command.clone());
        orders.env = last_of_each_name(&plan.env);
        orders.cwd.clone_from(&plan.cwd);
        Ok(orders)
    }

    /// Only the walls: what `probe` tries out.
    pub(crate) fn walls(sandbox: &Sandbox, cgroups: Vec<PathBuf>) -> Result<Self, ExecutorError> {
        let paths = sandbox
            .hide
            .iter()
            .chain(&sandbox.expose)
            .chain(&sandbox.private_tmp);
        if let Some(path) = paths.into_iter().find(|it| !it.is_absolute()) {
            return Err(ExecutorError::Plan(format!(
                "{} is not absolute",
                path.display()
            )));
        }
        Ok(Self {
            command: None,
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            isolation: sandbox.isolation,
            uid_gid: sandbox.uid_gid,
            hide: sandbox.hide.clone(),
            expose: sandbox.expose.clone(),
            private_tmp: sandbox.private_tmp.clone(),
            open_files: sandbox.limits.open_files,
            user_processes: sandbox.limits.processes,
            cgroups,
        })
    }

    /// Sends the orders to a sandbox.
    pub(crate) fn send(&self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = vec![0; 4];
        serde_json::to_writer(&mut bytes, self)?;
        let length = u32::try_from(bytes.len() - 4)
            .ok()
            .filter(|it| *it <= PLAN_BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::from_raw_os_error(libc::E2BIG))?;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        to.write_all(&bytes)
    }

    /// Reads the orders in a sandbox.
    pub(crate) fn receive(from: &mut impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > PLAN_BYTES_MAX {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        let mut bytes = vec![0; usize::try_from(length).expect("16 MiB fit in memory")];
        from.read_exact(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

impl Report {
    /// Sends one line up.
    pub(crate) fn send(&self, to: &mut impl Write) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        to.write_all(&line)
    }
}

/// Two variables of one name would leave the choice to each program.
fn last_of_each_name(env: &[(String, String)]) -> Vec<(String, String)> {
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<_> = env
        .iter()
        .rev()
        .filter(|(name, _)| seen.insert(name))
        .cloned()
        .collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(command: Command, env: &[(&str, &str)]) -> StepPlan {
        let mut plan = StepPlan::new(command, "/", Sandbox::default());
        plan.env = env
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        plan
    }

    #[test]
    fn orders_survive_the_way_down() {
        let argv = Command::Argv(vec!["echo".into(), "ü\n".into()]);
        let orders = Orders::of(
            &plan(argv.clone(), &[("A", "1"), ("B", "2"), ("A", "3")]),
            vec![],
        );
        let mut bytes = Vec::new();
        orders.unwrap().send(&mut bytes).unwrap();
        let orders = Orders::receive(&mut bytes.as_slice()).unwrap();
        assert!(orders.command == Some(argv));
        assert_eq!(
            orders.env,
            [("B".into(), "2".into()), ("A".into(), "3".into())]
        );
    }

    #[test]
    fn a_plan_the_kernel_could_not_carry_out_is_refused() {
        let ok = Command::Argv(vec!["true".into()]);
        for (command, env) in [
            (Command::Argv(vec![]), ("A", "1")),
            (Command::Argv(vec!["a\0b".into()]), ("A", "1")),
            (ok.clone(), ("A=B", "1")),
            (ok.clone(), ("", "1")),
            (ok.clone(), ("A", "1\0")),
        ] {
            let refused = Orders::of(&plan(command, &[env]), vec![]);
            assert!(matches!(refused, Err(ExecutorError::Plan(_))));
        }
        let relative = Sandbox {
            hide: vec!["data".into()],
            ..Sandbox::default()
        };
        assert!(Orders::walls(&relative, vec![]).is_err());
    }

    #[test]
    fn an_endless_plan_is_not_read() {
        let mut bytes: &[u8] = &[0xff; 64];
        assert!(Orders::receive(&mut bytes).is_err());
    }
}
