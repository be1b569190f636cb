//! Where a job runs and within which walls.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use danube_executor::{
    Capabilities, CgroupParent, Isolation, Limits, Nursery, Sandbox, TMP_DIRECTORIES, UidLease,
    UidPool, Workspace,
};
use danube_model::spec;

use crate::source;

/// The socket of a job without network in its `/tmp`: hidden, so that who clears that away
/// leaves it.
const SOCKET: &str = ".danube.sock";

/// The operator's decisions about the walls.
#[derive(Debug, Clone)]
pub struct PlaceSettings {
    /// Who starts the steps.
    pub nursery: Nursery,
    /// Where the jobs run.
    pub place: Where,
    /// What neither steps nor clones may see: the data directory.
    pub hide: Vec<PathBuf>,
    /// What only steps may not see: the home of the worker's user, when the
    /// steps run as the same user. Clones need its ssh keys and git settings.
    pub hide_from_steps: Vec<PathBuf>,
    /// Limits of a step when its pipeline sets none; a pipeline may only lower them.
    pub limits: Limits,
    /// Whether steps reach the network.
    pub network: bool,
    /// Uids for jobs; only root can lend them.
    pub uids: Option<UidPool>,
    /// Name of the cgroup below which every step has its own; belongs to one
    /// data directory. None for steps without limits by cgroup.
    pub cgroup: Option<String>,
}

/// Where jobs run.
#[derive(Debug, Clone)]
pub enum Where {
    /// Each in a workspace of its own below this directory, removed at the end.
    Below(PathBuf),
    /// In this directory, as the calling user: `danube run`.
    Here {
        /// Where the steps begin.
        source: PathBuf,
        /// Where the worker's own files go: a directory that is there, and nobody else's.
        files: PathBuf,
    },
}

/// What the kernel and the settings allow, found once when the worker starts.
pub(crate) struct Walls {
    settings: PlaceSettings,
    capabilities: Capabilities,
    cgroup: Option<CgroupParent>,
}

impl Walls {
    /// Looks what there is, by way of whoever starts the steps.
    pub(crate) fn find(settings: PlaceSettings) -> io::Result<Self> {
        // First of all: it may move this process into another cgroup, and the
        // steps must start from there. Without one, those limits hold that the
        // kernel knows by process.
        let nursery = &settings.nursery;
        let cgroup = settings.cgroup.as_deref();
        let cgroup = cgroup.and_then(|name| nursery.open_cgroup(name).ok().flatten());
        let uid = settings.uids.as_ref().map(UidPool::base);
        let capabilities = danube_executor::probe_by(nursery, cgroup.as_ref(), uid)?;
        Ok(Self {
            settings,
            capabilities,
            cgroup,
        })
    }

    /// For a worker that runs no job: what it isn't asked for may be missing.
    pub(crate) fn unused(settings: PlaceSettings) -> Self {
        Self {
            settings,
            capabilities: Capabilities::default(),
            cgroup: None,
        }
    }

    /// The cgroup below which every step has its own.
    pub(crate) fn cgroup(&self) -> Option<CgroupParent> {
        self.cgroup.clone()
    }

    /// What is missing for jobs that must not trust each other, for people.
    pub(crate) fn missing(&self) -> Option<String> {
        if self.capabilities.isolation == Isolation::ProcessGroup {
            return Some(format!(
                "no namespaces ({})",
                self.capabilities.why_not.join("; ")
            ));
        }
        let no_uids = self.settings.uids.is_some() && !self.capabilities.other_users;
        no_uids.then(|| "jobs can't run under users of their own, and would run as root".to_owned())
    }

    fn isolation(&self) -> Isolation {
        self.capabilities.isolation(!self.settings.network)
    }

    /// A pipeline may ask for less than the operator allows, never for more.
    fn limits(&self, asked: &spec::Limits) -> Limits {
        let ours = self.settings.limits;
        Limits {
            memory_bytes: lower(ours.memory_bytes, asked.memory_bytes),
            processes: lower(ours.processes, asked.processes),
            cpu_cores: lower(ours.cpu_cores, asked.cpu_cores),
            open_files: lower(ours.open_files, asked.open_files),
        }
    }
}

fn lower<T: PartialOrd>(ours: Option<T>, asked: Option<T>) -> Option<T> {
    match (ours, asked) {
        (Some(ours), Some(asked)) => Some(if asked < ours { asked } else { ours }),
        (ours, asked) => ours.or(asked),
    }
}

/// The place of one job.
pub(crate) struct Place {
    workspace: Option<Workspace>,
    uid: Option<UidLease>,
    source: PathBuf,
    files: PathBuf,
    home: PathBuf,
}

impl Place {
    /// Makes the place. With a source to clone it belongs to the worker until
    /// [`Place::give`]: the clone runs as the worker.
    pub(crate) fn make(walls: &Walls, name: &str, clones: bool) -> io::Result<Self> {
        let parent = match &walls.settings.place {
            Where::Below(parent) => parent,
            Where::Here { source, files } => {
                let home = std::env::var_os("HOME").map_or_else(|| source.clone(), PathBuf::from);
                return Ok(Self {
                    workspace: None,
                    uid: None,
                    source: source.clone(),
                    files: files.clone(),
                    home,
                });
            }
        };
        let uid = match &walls.settings.uids {
            Some(pool) if walls.capabilities.other_users => Some(
                pool.lease()
                    .ok_or_else(|| io::Error::other("every uid of the range is in use"))?,
            ),
            _ => None,
        };
        let owner = uid.as_ref().map(UidLease::uid_gid).filter(|_| !clones);
        let workspace = Workspace::create(parent, name, owner)?;
        let place = Self {
            source: workspace.path().join("source"),
            files: workspace.path().to_owned(),
            // One directory less for each job: file systems feel it.
            home: workspace.path().to_owned(),
            workspace: Some(workspace),
            uid,
        };
        fs::create_dir(&place.source)?;
        if let Some((uid, gid)) = owner {
            chown(&place.source, Some(uid), Some(gid))?;
        }
        Ok(place)
    }

    /// Where the source is and the steps begin.
    pub(crate) fn source(&self) -> &Path {
        &self.source
    }

    /// The job's own `HOME`.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// A path for a file of the worker's own, beside the source. It is the job's
    /// too, once the place is given to it.
    pub(crate) fn private_file(&self, name: &str) -> PathBuf {
        self.files.join(name)
    }

    /// Gives everything to the job's own uid, once the source is cloned.
    pub(crate) fn give(&self) -> io::Result<()> {
        let (Some(workspace), Some(uid)) = (&self.workspace, &self.uid) else {
            return Ok(());
        };
        workspace.chown_tree(uid.uid_gid())?;
        for dir in [workspace.path(), workspace.tmp()] {
            chown(dir, Some(uid.uid()), Some(uid.uid()))?;
        }
        Ok(())
    }

    /// The walls around a step of the job.
    pub(crate) fn sandbox(&self, walls: &Walls, asked: &spec::Limits) -> Sandbox {
        let mut sandbox = Sandbox {
            isolation: walls.isolation(),
            limits: walls.limits(asked),
            cgroup: walls.cgroup.clone(),
            nursery: walls.settings.nursery.clone(),
            ..Sandbox::default()
        };
        if let Some(workspace) = &self.workspace {
            sandbox.uid_gid = self.uid.as_ref().map(UidLease::uid_gid);
            let settings = &walls.settings;
            sandbox.hide = [&settings.hide[..], &settings.hide_from_steps[..]].concat();
            sandbox.expose = vec![workspace.path().to_owned()];
            sandbox.private_tmp = Some(workspace.tmp().to_owned());
        }
        sandbox
    }

    /// The walls around the clone, which runs as the worker itself: it needs the
    /// worker's ssh keys and reads what the submit was allowed to name. The data
    /// directory is as hidden from it as from a step, but for that repository.
    pub(crate) fn source_sandbox(&self, walls: &Walls, repository: &str) -> Sandbox {
        let mut sandbox = Sandbox {
            isolation: walls.capabilities.isolation(false),
            limits: walls.settings.limits,
            cgroup: walls.cgroup.clone(),
            nursery: walls.settings.nursery.clone(),
            hide: walls.settings.hide.clone(),
            ..Sandbox::default()
        };
        let workspace = self.workspace.as_ref().map(|it| it.path().to_owned());
        let repository = source::local(repository).filter(|it| it.is_dir());
        sandbox.expose = workspace.into_iter().chain(repository).collect();
        sandbox
    }

    /// A socket in the job's own `/tmp`, and its path as the job sees it; none for jobs that
    /// have a network. Call it before a step of the job has run.
    pub(crate) fn socket(&self, walls: &Walls) -> io::Result<Option<(UnixListener, String)>> {
        let is_cut_off = matches!(
            walls.isolation(),
            Isolation::Namespaces { network: true, .. }
        );
        let Some(workspace) = self.workspace.as_ref().filter(|_| is_cut_off) else {
            return Ok(None);
        };
        // A socket's path may have 107 bytes; through the open directory it has few.
        let dir = File::open(workspace.tmp())?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        if let Some(uid) = &self.uid {
            chown(&path, Some(uid.uid()), Some(uid.uid()))?;
        }
        Ok(Some((listener, format!("{}/{SOCKET}", TMP_DIRECTORIES[0]))))
    }

    /// Removes everything that the job left.
    pub(crate) fn remove(self) -> io::Result<()> {
        // The uid is given back only once nothing of it is left on disk.
        let Self { workspace, uid, .. } = self;
        let removed = workspace.map_or(Ok(()), Workspace::remove);
        if removed.is_err() {
            // Another job under this uid would own what is left.
            std::mem::forget(uid);
        }
        removed
    }
}
