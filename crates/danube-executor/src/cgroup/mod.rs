//! A cgroup of its own for each step, by version 2 where its controllers are,
//! by version 1 where they are there.

mod settings;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::nursery::{Answer, FarCgroup, Nursery, Request};
use crate::plan::Limits;
use crate::sys;
use settings::{Setting, settings};

/// How long the kernel may take to let go of an emptied cgroup. Usually it
/// needs no wait at all.
const REMOVE_WAIT_MILLIS: u64 = 1_000;
const REMOVE_AGAIN_MILLIS: u64 = 2;

/// What a cgroup can limit for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Controller {
    /// Memory of all processes together.
    Memory,
    /// Number of processes and threads.
    Processes,
    /// Processor time.
    Cpu,
}

const CONTROLLERS: [(Controller, &str); 3] = [
    (Controller::Memory, "memory"),
    (Controller::Processes, "pids"),
    (Controller::Cpu, "cpu"),
];

/// The cgroups below which each step gets its own. Clones are the same.
#[derive(Clone, Debug)]
pub struct CgroupParent(Whose);

#[derive(Clone, Debug)]
enum Whose {
    /// Made by this process.
    Own(Arc<Vec<Branch>>),
    /// Made by a nursery in its own part of the tree, and known by name.
    Far {
        nursery: Nursery,
        name: String,
        controllers: Vec<(Controller, u8)>,
    },
}

/// Our directory in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Branch {
    version: u8,
    directory: PathBuf,
    controllers: Vec<Controller>,
}

impl CgroupParent {
    /// Makes (or finds) a cgroup `name` below our own in every hierarchy that
    /// can limit something, and removes what an earlier process of that name
    /// left in it, processes included. So `name` must belong to one data
    /// directory: `danube-<hash of it>`.
    ///
    /// Returns `None` when the kernel has no controllers for us. With version 2
    /// this process moves into a leaf `<name>-self`, if that is what it takes.
    pub fn open(name: &str) -> io::Result<Option<Self>> {
        let found = Self::open_kept(name)?;
        if let Some(Self(Whose::Own(branches))) = &found {
            for branch in branches.iter() {
                for stale in subdirectories(&branch.directory)? {
                    // A process that hangs in the kernel keeps its own, and must
                    // not take the limits from all that come after it.
                    let _ = remove(&stale);
                }
            }
        }
        Ok(found)
    }

    /// The same, but leaves alone what is in it.
    pub(crate) fn open_kept(name: &str) -> io::Result<Option<Self>> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let places = places(&mounts, &own);
        // A hierarchy that refuses is one that cannot limit.
        let branches = places.iter().filter_map(|it| it.branch(name).ok()?);
        let branches: Vec<Branch> = branches.collect();
        Ok((!branches.is_empty()).then(|| Self(Whose::Own(Arc::new(branches)))))
    }

    /// Whether its directories are still where they were made.
    pub(crate) fn is_there(&self) -> bool {
        match &self.0 {
            Whose::Own(branches) => branches.iter().all(|it| it.directory.is_dir()),
            Whose::Far { .. } => true,
        }
    }

    /// Has a nursery open one where it is itself.
    pub(crate) fn behind(nursery: &Nursery, name: &str) -> io::Result<Option<Self>> {
        let name = name.to_owned();
        let request = Request::OpenCgroup { name: name.clone() };
        match nursery.ask(&request)?.1 {
            Answer::Controllers(controllers) => Ok((!controllers.is_empty()).then(|| {
                Self(Whose::Far {
                    nursery: nursery.clone(),
                    name,
                    controllers,
                })
            })),
            other => Err(other.unexpected()),
        }
    }

    /// What can be limited, and by which version of cgroups.
    #[must_use]
    pub fn controllers(&self) -> Vec<(Controller, u8)> {
        match &self.0 {
            Whose::Far { controllers, .. } => controllers.clone(),
            Whose::Own(branches) => {
                let of = |it: &Branch| {
                    let version = it.version;
                    let controllers = it.controllers.clone().into_iter();
                    controllers.map(move |it| (it, version))
                };
                branches.iter().flat_map(of).collect()
            }
        }
    }

    /// Removes the cgroups of this name; no step may be running.
    pub fn remove(self) -> io::Result<()> {
        match self.0 {
            Whose::Own(branches) => branches.iter().try_for_each(|it| remove(&it.directory)),
            Whose::Far { nursery, name, .. } => {
                match nursery.ask(&Request::RemoveCgroup { name })?.1 {
                    Answer::Done => Ok(()),
                    other => Err(other.unexpected()),
                }
            }
        }
    }

    /// A cgroup for one step, with those limits that there is a controller for.
    pub(crate) fn step(&self, limits: &Limits) -> io::Result<StepCgroup> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        self.step_named(&format!("{}-{next}", std::process::id()), limits)
    }

    /// The same, with a name that no other step below this parent has.
    pub(crate) fn step_named(&self, name: &str, limits: &Limits) -> io::Result<StepCgroup> {
        let parents = match &self.0 {
            Whose::Own(parents) => parents,
            Whose::Far {
                nursery,
                name: parent,
                ..
            } => {
                let request = Request::StepCgroup {
                    parent: parent.clone(),
                    name: name.to_owned(),
                    limits: *limits,
                };
                let made = FarCgroup::of(nursery.ask(&request)?)?;
                return Ok(StepCgroup::Far(made));
            }
        };
        let mut step = OwnCgroup {
            branches: Vec::new(),
        };
        for parent in parents.iter() {
            let settings = settings(parent, limits);
            if settings.is_empty() {
                continue;
            }
            let directory = parent.directory.join(name);
            fs::create_dir(&directory)?;
            // From here on dropping `step` removes it.
            step.branches.push(Branch {
                directory,
                ..parent.clone()
            });
            let directory = &step.branches[step.branches.len() - 1].directory;
            for Setting {
                file,
                value,
                needed,
            } in settings
            {
                let written = fs::write(directory.join(file), value);
                if needed {
                    written?;
                }
            }
        }
        Ok(StepCgroup::Own(step))
    }
}

/// One step's cgroups; removed on drop, with whoever is still inside.
#[derive(Debug)]
pub(crate) enum StepCgroup {
    Own(OwnCgroup),
    Far(FarCgroup),
}

impl StepCgroup {
    /// The files by which a process enters.
    pub(crate) fn entrances(&self) -> Vec<PathBuf> {
        match self {
            Self::Own(own) => own.entrances(),
            Self::Far(far) => far.entrances.clone(),
        }
    }

    /// Whether processes are counted here.
    pub(crate) fn counts_processes(&self) -> bool {
        match self {
            Self::Own(own) => own.counts_processes(),
            Self::Far(far) => far.counts_processes,
        }
    }

    /// Whether the kernel killed a process of the step for want of memory.
    pub(crate) fn oom_killed(&self) -> bool {
        match self {
            Self::Own(own) => own.oom_killed(),
            Self::Far(far) => far.oom_killed(),
        }
    }
}

/// Those that this process made.
#[derive(Debug)]
pub(crate) struct OwnCgroup {
    branches: Vec<Branch>,
}

impl OwnCgroup {
    fn entrances(&self) -> Vec<PathBuf> {
        self.branches
            .iter()
            .map(|it| it.directory.join("cgroup.procs"))
            .collect()
    }

    fn counts_processes(&self) -> bool {
        self.branches
            .iter()
            .any(|it| it.controllers.contains(&Controller::Processes))
    }

    fn oom_killed(&self) -> bool {
        let memory = self
            .branches
            .iter()
            .filter(|it| it.controllers.contains(&Controller::Memory));
        memory.into_iter().any(|branch| {
            let file = if branch.version == 2 {
                "memory.events"
            } else {
                "memory.oom_control"
            };
            fs::read_to_string(branch.directory.join(file)).is_ok_and(|it| counts_oom_kill(&it))
        })
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        for branch in &self.branches {
            // What cannot be removed now is removed when the parent is opened next.
            let _ = remove(&branch.directory);
        }
    }
}

fn counts_oom_kill(text: &str) -> bool {
    let mut counts = text
        .lines()
        .filter_map(|line| line.strip_prefix("oom_kill "));
    counts.any(|count| count.trim() != "0")
}

/// Where one hierarchy is mounted and where in it we are.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    version: u8,
    mount: PathBuf,
    own: PathBuf,
    /// Version 1 only; version 2 says it in a file.
    controllers: Vec<Controller>,
}

/// Reads `/proc/self/mountinfo` and `/proc/self/cgroup`, see proc(5) and cgroups(7).
fn places(mounts: &str, own: &str) -> Vec<Place> {
    let mut all = Vec::new();
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let (before, after): (Vec<&str>, Vec<&str>) =
            (before.split(' ').collect(), after.split(' ').collect());
        let (&[_, _, _, root, mount, ..], &[kind, _, options]) = (&before[..], &after[..]) else {
            continue;
        };
        let version = match kind {
            "cgroup" => 1,
            "cgroup2" => 2,
            _ => continue,
        };
        let options: Vec<&str> = options.split(',').collect();
        let mut controllers = Vec::new();
        if version == 1 {
            let known = CONTROLLERS
                .iter()
                .filter(|(_, name)| options.contains(name));
            controllers.extend(known.map(|(controller, _)| *controller));
            if controllers.is_empty() {
                continue;
            }
        }
        let path = own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let names = parts.next()?;
            let path = parts.next()?;
            let is_it = match version {
                2 => names.is_empty(),
                _ => names
                    .split(',')
                    .any(|it| !it.is_empty() && options.contains(&it)),
            };
            is_it.then_some(path)
        });
        // In a container the mount begins at our own cgroup, or at one that
        // the path does not even mention.
        let path = Path::new(path.unwrap_or("/"));
        let below = path.strip_prefix(root).unwrap_or(Path::new(""));
        let mount = PathBuf::from(mount);
        all.push(Place {
            version,
            own: mount.join(below),
            mount,
            controllers,
        });
    }
    all
}

impl Place {
    /// Our directory in this hierarchy, ready for step cgroups.
    fn branch(&self, name: &str) -> io::Result<Option<Branch>> {
        if self.version == 1 {
            let directory = self.own.join(name);
            make(&directory)?;
            let controllers = self.controllers.clone();
            return Ok(Some(Branch {
                version: 1,
                directory,
                controllers,
            }));
        }
        // Our own cgroup is ours to divide when a service manager delegates
        // it; from a login session, root has to go to the top.
        for base in [&self.own, &self.mount] {
            if let Ok(controllers) = divide(base, name)
                && !controllers.is_empty()
            {
                return Ok(Some(Branch {
                    version: 2,
                    directory: base.join(name),
                    controllers,
                }));
            }
        }
        Ok(None)
    }
}

/// Makes `base/name` and hands the controllers down to its children.
fn divide(base: &Path, name: &str) -> io::Result<Vec<Controller>> {
    let offered = fs::read_to_string(base.join("cgroup.controllers"))?;
    let wanted: Vec<_> = CONTROLLERS
        .iter()
        .filter(|(_, name)| offered.split_whitespace().any(|it| it == *name))
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let directory = base.join(name);
    make(&directory)?;
    let switch = wanted
        .iter()
        .map(|(_, name)| format!("+{name}"))
        .collect::<Vec<_>>()
        .join(" ");
    let control = base.join("cgroup.subtree_control");
    if fs::write(&control, &switch).is_err() {
        // A cgroup that hands down controllers may hold no process: step aside.
        let aside = base.join(format!("{name}-self"));
        make(&aside)?;
        fs::write(aside.join("cgroup.procs"), "0")?;
        fs::write(&control, &switch)?;
    }
    fs::write(directory.join("cgroup.subtree_control"), &switch)?;
    Ok(wanted.iter().map(|(controller, _)| *controller).collect())
}

fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn subdirectories(of: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(of)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            all.push(entry.path());
        }
    }
    Ok(all)
}

/// Removes a cgroup and all below it, killing whoever is inside.
fn remove(directory: &Path) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_millis(REMOVE_WAIT_MILLIS);
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => {}
        }
        for below in subdirectories(directory).unwrap_or_default() {
            remove(&below)?;
        }
        let inside = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        // 0 stands for processes outside our PID namespace.
        for pid in inside
            .lines()
            .filter_map(|line| line.parse().ok())
            .filter(|pid| *pid > 1)
        {
            // One that just ended is what we want.
            let _ = sys::kill(pid, libc::SIGKILL);
        }
        thread::sleep(Duration::from_millis(REMOVE_AGAIN_MILLIS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let mounts = "\
30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
32 30 0:28 /docker/1 /sys/fs/cgroup/memory ro shared:9 - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer";
        let own = "4:memory:/docker/1/a\n2:cpu,cpuacct:/user\n1:freezer:/\n0::/user.slice";
        let place = |version, mount: &str, own: &str, controllers: &[Controller]| Place {
            version,
            mount: mount.into(),
            own: own.into(),
            controllers: controllers.into(),
        };
        let root = "/sys/fs/cgroup";
        assert_eq!(
            places(mounts, own),
            [
                place(
                    2,
                    &format!("{root}/unified"),
                    &format!("{root}/unified/user.slice"),
                    &[]
                ),
                place(
                    1,
                    &format!("{root}/memory"),
                    &format!("{root}/memory/a"),
                    &[Controller::Memory]
                ),
                place(
                    1,
                    &format!("{root}/cpu,cpuacct"),
                    &format!("{root}/cpu,cpuacct/user"),
                    &[Controller::Cpu]
                ),
            ]
        );
    }

    #[test]
    fn version_2_hands_controllers_down_to_the_steps() {
        let tree = tempfile::tempdir().unwrap();
        fs::write(
            tree.path().join("cgroup.controllers"),
            "cpuset cpu io memory pids\n",
        )
        .unwrap();
        let place = Place {
            version: 2,
            mount: tree.path().into(),
            own: tree.path().into(),
            controllers: vec![],
        };
        let branch = place.branch("danube-x").unwrap().unwrap();
        assert_eq!(
            branch.controllers,
            [Controller::Memory, Controller::Processes, Controller::Cpu]
        );
        for directory in [tree.path(), &branch.directory] {
            let switch = fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap();
            assert_eq!(switch, "+memory +pids +cpu");
        }
    }

    #[test]
    fn version_2_without_controllers_is_no_use() {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("cgroup.controllers"), "\n").unwrap();
        let place = Place {
            version: 2,
            mount: tree.path().into(),
            own: tree.path().into(),
            controllers: vec![],
        };
        assert_eq!(place.branch("danube-x").unwrap(), None);
        assert!(!tree.path().join("danube-x").exists());
    }

    #[test]
    fn an_oom_kill_is_read_from_either_version() {
        assert!(counts_oom_kill(
            "low 0\noom 1\noom_kill 2\noom_group_kill 0\n"
        ));
        assert!(counts_oom_kill(
            "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"
        ));
        assert!(!counts_oom_kill(
            "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n"
        ));
    }
}
