//! The one way from a source to a directory: [`Fetcher::fetch`].

use std::fmt;
use std::fs;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use danube_model::playbook::source::{Nexus, Source};

use crate::confine::{Confined, Most, clear, open_file};
use crate::download::{Ask, Auth, Download};
use crate::error::SourceError;
use crate::git::{Git, GitCredential, Wanted};
use crate::limits::CACHE_BYTES_DEFAULT;
use crate::{inventory, local, nexus, role, unpack};

/// The name of a playbook that came without one.
const PLAYBOOK: &str = "playbook.yml";

/// What the operator decided.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where mirrors and downloads lie, 0700; only workers write there.
    pub cache: PathBuf,
    /// Bytes of all mirrors together.
    pub cache_bytes_max: u64,
    /// The worker's own home: ssh keys and git settings for sources without a
    /// credential.
    pub home: PathBuf,
    /// Directories that local sources may be in.
    pub allow_paths: Vec<PathBuf>,
}

impl Settings {
    /// The usual ones, with a cache in this directory.
    #[must_use]
    pub fn new(cache: PathBuf) -> Self {
        let home = std::env::var_os("HOME").map_or_else(|| "/root".into(), PathBuf::from);
        Self {
            cache,
            cache_bytes_max: CACHE_BYTES_DEFAULT,
            home,
            allow_paths: Vec::new(),
        }
    }
}

/// What one job wants.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The source.
    pub source: &'a Source,
    /// For its repository; none for the worker's own rights.
    pub git: Option<&'a GitCredential>,
    /// For its Nexus server.
    pub nexus: Option<&'a Auth>,
    /// The directory to write to: there, empty, and nobody else's.
    pub into: &'a Path,
}

/// How long a fetch may take, and who hears of it.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// When it must have ended.
    pub deadline: Instant,
    /// Whether the job was cancelled; asked many times a second.
    pub cancelled: &'a dyn Fn() -> bool,
    /// Takes lines for the job's log.
    pub say: &'a dyn Fn(&str),
}

impl Watch<'_> {
    /// Ends what goes on too long, or isn't wanted any more.
    pub(crate) fn check(&self, what: &'static str) -> Result<(), SourceError> {
        if (self.cancelled)() {
            return Err(SourceError::Cancelled);
        }
        if Instant::now() >= self.deadline {
            return Err(SourceError::TimedOut { what });
        }
        Ok(())
    }
}

/// A source that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The directory that it is in: what was asked for.
    pub root: PathBuf,
    /// The playbook in it, absolute.
    pub playbook: PathBuf,
    /// Exactly which source it is: the commit, or `sha256:…` of the file.
    pub revision: Option<String>,
    /// Bytes of its files.
    pub bytes: u64,
}

/// The tree of a branch, for the server itself.
#[derive(Debug, Clone, Copy)]
pub struct Tree<'a> {
    /// The repository.
    pub repo: &'a str,
    /// Its branch.
    pub branch: &'a str,
    /// For it; none for the server's own rights.
    pub credential: Option<&'a GitCredential>,
    /// A commit whose tree isn't wanted again.
    pub known: Option<&'a str>,
    /// The directory to write to: there, empty, and nobody else's.
    pub into: &'a Path,
    /// Files, directories and links at most.
    pub entries_max: usize,
    /// Bytes of all its files at most.
    pub bytes_max: u64,
    /// What to do where the server wants a credential.
    pub login: &'static str,
}

/// Fetches sources; jobs share one.
pub struct Fetcher {
    settings: Settings,
    git: Git,
    download: Arc<dyn Download>,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Fetcher")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What came of a source, before its playbook was looked for.
struct Brought {
    playbook: String,
    revision: Option<String>,
    bytes: u64,
}

impl Fetcher {
    /// Makes the cache's directories.
    ///
    /// # Errors
    /// They can't be made.
    pub fn new(settings: Settings, download: Arc<dyn Download>) -> io::Result<Self> {
        let git = Git::new(&settings)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(spool(&settings))?;
        Ok(Self {
            settings,
            git,
            download,
        })
    }

    /// Fetches a source into a directory. When that fails, the directory is
    /// empty again.
    ///
    /// # Errors
    /// Why the source isn't there, for whoever submitted the job.
    pub fn fetch(&self, request: &Request<'_>, watch: &Watch<'_>) -> Result<Fetched, SourceError> {
        let fetched = self.bring(request, watch).and_then(|brought| {
            let playbook = &brought.playbook;
            open_file(request.into, playbook).map_err(|_| no_playbook(request.into, playbook))?;
            Ok(Fetched {
                root: request.into.to_owned(),
                playbook: request.into.join(playbook),
                revision: brought.revision,
                bytes: brought.bytes,
            })
        });
        if fetched.is_err() {
            clear(request.into).map_err(SourceError::io("remove what was fetched"))?;
        }
        fetched
    }

    /// Writes the tree of a branch into a directory, unless its commit is known, and says
    /// which commit it is. When that fails, the directory is empty again.
    ///
    /// # Errors
    /// Why it isn't there, for the operator.
    pub fn tree(&self, tree: &Tree<'_>, watch: &Watch<'_>) -> Result<String, SourceError> {
        let most = Most {
            entries: tree.entries_max,
            bytes: tree.bytes_max,
        };
        let git_ref = format!("refs/heads/{}", tree.branch);
        let wanted = Wanted {
            repo: tree.repo,
            git_ref: &git_ref,
            credential: tree.credential,
            known: tree.known,
            login: tree.login,
        };
        let brought = Confined::open(tree.into, 0, watch)
            .and_then(|into| self.clone(&wanted, &mut into.at_most(most), watch));
        if brought.is_err() {
            clear(tree.into).map_err(SourceError::io("remove what was fetched"))?;
        }
        brought
    }

    /// Fetches an inventory behind an address into a directory, as a file that nobody
    /// can run; its path.
    ///
    /// # Errors
    /// Why it isn't there, for whoever submitted the job.
    pub fn fetch_inventory(
        &self,
        (url, sha256): (&str, Option<&str>),
        into: &Path,
        watch: &Watch<'_>,
    ) -> Result<PathBuf, SourceError> {
        watch.check("fetching the inventory")?;
        let spool = spool(&self.settings);
        inventory::fetch(&self.ask(None, &spool, watch), (url, sha256), into)
    }

    fn bring(&self, request: &Request<'_>, watch: &Watch<'_>) -> Result<Brought, SourceError> {
        watch.check("fetching the source")?;
        match request.source {
            Source::Playbook {
                repo,
                git_ref,
                path,
            } => {
                let mut into = Confined::open(request.into, 0, watch)?;
                let wanted = wanted(repo, git_ref.as_deref(), request);
                let commit = self.clone(&wanted, &mut into, watch)?;
                Ok(Brought {
                    playbook: path.clone(),
                    revision: Some(commit),
                    bytes: into.bytes(),
                })
            }
            Source::Role {
                repo,
                git_ref,
                name,
                hosts,
                vars,
            } => {
                let below = request.into.join("roles").join(name);
                fs::create_dir_all(&below).map_err(SourceError::io("make the role's directory"))?;
                let mut into = Confined::open(&below, 0, watch)?;
                let wanted = wanted(repo, git_ref.as_deref(), request);
                let commit = self.clone(&wanted, &mut into, watch)?;
                let text = role::playbook(name, hosts, vars);
                let mut brought = write_playbook(&text, request.into, watch)?;
                brought.bytes += into.bytes();
                brought.revision = Some(commit);
                Ok(brought)
            }
            Source::Nexus(nexus) => self.nexus(nexus, request, watch),
            Source::Archive {
                url,
                sha256,
                path,
                strip_components,
            } => {
                let expected = sha256
                    .clone()
                    .map(danube_model::playbook::source::Checksum::Sha256);
                let spool = spool(&self.settings);
                let file = self.ask(None, &spool, watch).file(url, expected.as_ref())?;
                (watch.say)(&format!("downloaded the archive, sha256 {}", file.sha256));
                let mut into = Confined::open(request.into, *strip_components as usize, watch)?;
                unpack::unpack(file.file, &mut into)?;
                Ok(Brought {
                    playbook: path.clone(),
                    revision: Some(format!("sha256:{}", file.sha256)),
                    bytes: into.bytes(),
                })
            }
            Source::Inline { playbook } => write_playbook(playbook, request.into, watch),
            Source::Local { path, playbook } => {
                let from = local::allowed(path, &self.settings.allow_paths)?;
                let mut into = Confined::open(request.into, 0, watch)?;
                local::copy(&from, &mut into)?;
                (watch.say)(&format!("copied {path}"));
                Ok(Brought {
                    playbook: playbook.clone(),
                    revision: None,
                    bytes: into.bytes(),
                })
            }
        }
    }

    fn clone(
        &self,
        wanted: &Wanted<'_>,
        into: &mut Confined<'_>,
        watch: &Watch<'_>,
    ) -> Result<String, SourceError> {
        let download = self.download.as_ref();
        self.git.may_reach(wanted.repo, download, watch)?;
        self.git.bring(wanted, into, watch)
    }

    fn nexus(
        &self,
        nexus: &Nexus,
        request: &Request<'_>,
        watch: &Watch<'_>,
    ) -> Result<Brought, SourceError> {
        let spool = spool(&self.settings);
        let mut file = nexus::download(nexus, &self.ask(request.nexus, &spool, watch))?;
        let revision = Some(format!("sha256:{}", file.sha256));
        let strip = nexus.strip_components as usize;
        let mut into = Confined::open(request.into, strip, watch)?;
        let playbook = match &nexus.path {
            Some(path) => {
                unpack::unpack(file.file, &mut into)?;
                path.clone()
            }
            None => {
                file.file
                    .seek(SeekFrom::Start(0))
                    .map_err(SourceError::io("read the download"))?;
                let mut into = Confined::open(request.into, 0, watch)?;
                into.file(PLAYBOOK.as_bytes(), false, &mut file.file)?;
                return Ok(Brought {
                    playbook: PLAYBOOK.to_owned(),
                    revision,
                    bytes: into.bytes(),
                });
            }
        };
        Ok(Brought {
            playbook,
            revision,
            bytes: into.bytes(),
        })
    }

    fn ask<'a>(&'a self, auth: Option<&'a Auth>, spool: &'a Path, watch: &'a Watch<'a>) -> Ask<'a> {
        Ask {
            download: self.download.as_ref(),
            auth,
            spool,
            watch,
        }
    }
}

fn wanted<'a>(repo: &'a str, git_ref: Option<&'a str>, request: &Request<'a>) -> Wanted<'a> {
    Wanted {
        repo,
        git_ref: git_ref.unwrap_or("HEAD"),
        credential: request.git,
        known: None,
        login: "store one and name it as `git` in `credentials`",
    }
}

/// Where downloads lie until they are unpacked.
fn spool(settings: &Settings) -> PathBuf {
    settings.cache.join("spool")
}

/// Writes a playbook that may hold what only the job should read.
fn write_playbook(text: &str, root: &Path, watch: &Watch<'_>) -> Result<Brought, SourceError> {
    let bytes = write_private(PLAYBOOK, &mut text.as_bytes(), root, watch)?;
    Ok(Brought {
        playbook: PLAYBOOK.to_owned(),
        revision: None,
        bytes,
    })
}

/// Writes a file that only the job can read and nobody can run; its bytes.
pub(crate) fn write_private(
    name: &str,
    from: &mut dyn io::Read,
    root: &Path,
    watch: &Watch<'_>,
) -> Result<u64, SourceError> {
    let mut into = Confined::open(root, 0, watch)?;
    into.file(name.as_bytes(), false, from)?;
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(root.join(name), private)
        .map_err(SourceError::io("keep a file private"))?;
    Ok(into.bytes())
}

/// Playbooks that are named when one isn't there.
const NEAR_MAX: usize = 5;

fn no_playbook(root: &Path, path: &str) -> SourceError {
    let directory = Path::new(path).parent().unwrap_or(Path::new(""));
    // A name of the source may be anything: only plain ones are repeated.
    let mut near: Vec<String> = fs::read_dir(root.join(directory))
        .into_iter()
        .flatten()
        .filter_map(|it| it.ok()?.file_name().into_string().ok())
        .filter(|it| it.ends_with(".yml") || it.ends_with(".yaml"))
        .filter(|it| it.len() <= 100)
        .collect();
    near.sort();
    near.truncate(NEAR_MAX);
    let near = if near.is_empty() {
        String::new()
    } else {
        format!("; there are {} in the same directory", near.join(", "))
    };
    SourceError::NoPlaybook {
        path: path.to_owned(),
        near,
    }
}
