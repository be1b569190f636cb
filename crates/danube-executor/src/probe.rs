//! What this kernel and this user allow, found out by trying.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::cgroup::{CgroupParent, Controller};
use crate::control::Control;
use crate::nursery::Nursery;
use crate::plan::{End, Isolation, Output, Sandbox, Stream};
use crate::run::{Waits, run_orders};
use crate::sys;
use crate::wire::Orders;

/// What [`probe`] found. `Display` says it in plain sentences, one a line.
#[derive(Clone, Debug)]
pub struct Capabilities {
    /// This process is root (in its user namespace).
    pub root: bool,
    /// The strongest walls that work here, without a network namespace.
    pub isolation: Isolation,
    /// They work with a network namespace too.
    pub network_namespace: bool,
    /// A step can run under another uid: needs root.
    pub other_users: bool,
    /// What cgroups can limit, and by which version.
    pub cgroup: Vec<(Controller, u8)>,
    /// Why namespaces do not work, in the kernel's words; empty when they do.
    pub why_not: Vec<String>,
}

impl Default for Capabilities {
    /// What is there when nobody looked: nothing.
    fn default() -> Self {
        Self {
            root: false,
            isolation: Isolation::ProcessGroup,
            network_namespace: false,
            other_users: false,
            cgroup: Vec::new(),
            why_not: Vec::new(),
        }
    }
}

impl Capabilities {
    /// The strongest walls that work here; `network` asks to take the network
    /// from steps, where possible.
    #[must_use]
    pub fn isolation(&self, network: bool) -> Isolation {
        match self.isolation {
            Isolation::Namespaces { user_namespace, .. } => Isolation::Namespaces {
                user_namespace,
                network: network && self.network_namespace,
            },
            Isolation::ProcessGroup => Isolation::ProcessGroup,
        }
    }
}

/// Finds out by starting sandboxes that run nothing; takes a few milliseconds.
/// The calling program's `main` must begin with [`crate::sandbox_main_if_asked`].
///
/// `uid` is the one that steps of a root caller will run under; without one
/// that isn't tried.
#[must_use]
pub fn probe(uid: Option<u32>) -> Capabilities {
    let own = sys::user_and_group().0;
    look(&Nursery::default(), own, probe_cgroups(), uid)
}

/// The same by way of this nursery, which may be allowed more, or less, than we are;
/// `cgroup` is what it opened.
///
/// # Errors
/// When it isn't there.
pub fn probe_by(
    nursery: &Nursery,
    cgroup: Option<&CgroupParent>,
    uid: Option<u32>,
) -> io::Result<Capabilities> {
    let controllers = cgroup.map(CgroupParent::controllers);
    Ok(look(
        nursery,
        nursery.uid()?,
        controllers.unwrap_or_default(),
        uid,
    ))
}

fn look(
    nursery: &Nursery,
    own: u32,
    cgroup: Vec<(Controller, u8)>,
    uid: Option<u32>,
) -> Capabilities {
    let root = own == 0;
    let mut found = Capabilities {
        root,
        cgroup,
        ..Capabilities::default()
    };
    for user_namespace in [false, true] {
        let isolation = Isolation::Namespaces {
            user_namespace,
            network: false,
        };
        match attempt(nursery, isolation, None) {
            Ok(()) => {
                found.isolation = isolation;
                let network = Isolation::Namespaces {
                    user_namespace,
                    network: true,
                };
                found.network_namespace = attempt(nursery, network, None).is_ok();
                break;
            }
            Err(why) => found.why_not.push(why),
        }
    }
    if found.isolation != Isolation::ProcessGroup {
        found.why_not.clear();
    }
    found.other_users =
        root && uid.is_some_and(|uid| attempt(nursery, found.isolation, Some((uid, uid))).is_ok());
    found
}

/// Whether something keeps this machine's clock right, as the kernel was told; none
/// where it may not be asked.
#[must_use]
pub fn clock_is_synchronised() -> Option<bool> {
    sys::is_synchronised().ok()
}

fn probe_cgroups() -> Vec<(Controller, u8)> {
    let name = format!("danube-probe-{}", std::process::id());
    let Ok(Some(parent)) = CgroupParent::open(&name) else {
        return Vec::new();
    };
    let controllers = parent.controllers();
    // An empty cgroup left behind harms nobody.
    let _ = parent.remove();
    controllers
}

/// Nothing runs, so nothing is written.
struct Nowhere;

impl Output for Nowhere {
    fn write(&mut self, _: Stream, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

fn attempt(
    nursery: &Nursery,
    isolation: Isolation,
    uid_gid: Option<(u32, u32)>,
) -> Result<(), String> {
    let mut walls = Sandbox {
        isolation,
        uid_gid,
        ..Sandbox::default()
    };
    if isolation != Isolation::ProcessGroup {
        walls.hide = vec![PathBuf::from("/tmp")];
    }
    let control = Control::new().map_err(|it| it.to_string())?;
    let orders = Orders::walls(&walls, Vec::new()).map_err(|it| it.to_string())?;
    match run_orders(nursery, &orders, Waits::default(), &control, &mut Nowhere) {
        Ok(outcome) if outcome.end == End::Exit(0) => Ok(()),
        Ok(outcome) => Err(format!("try sandbox: {:?}", outcome.end)),
        Err(error) => Err(error.to_string()),
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.isolation {
            Isolation::Namespaces { user_namespace, .. } => {
                let how = if user_namespace {
                    ", through a user namespace"
                } else {
                    ""
                };
                writeln!(
                    f,
                    "Steps run in PID and mount namespaces of their own{how}."
                )?;
            }
            Isolation::ProcessGroup => {
                writeln!(
                    f,
                    "Steps run without namespaces: they see other processes, nothing is hidden \
                     from them but by file permissions, and /tmp is shared."
                )?;
                for why in &self.why_not {
                    writeln!(f, "  {why}")?;
                }
            }
        }
        let can = |yes| if yes { "can" } else { "cannot" };
        writeln!(
            f,
            "The network {} be taken from a step.",
            can(self.network_namespace)
        )?;
        writeln!(
            f,
            "A job {} run under a uid of its own.",
            can(self.other_users)
        )?;
        let limit = |controller| {
            let found = self.cgroup.iter().find(|(it, _)| *it == controller);
            found.map(|(_, version)| format!("limited by cgroup version {version}"))
        };
        let none = || "not limited: there is no cgroup controller for us".to_owned();
        writeln!(
            f,
            "Memory is {}.",
            limit(Controller::Memory).unwrap_or_else(none)
        )?;
        writeln!(
            f,
            "Processor time is {}.",
            limit(Controller::Cpu).unwrap_or_else(none)
        )?;
        let processes = limit(Controller::Processes);
        let processes = processes.unwrap_or_else(|| "limited for each user".to_owned());
        write!(f, "The number of processes is {processes}.")
    }
}
