//! Takes a commit of the repository to this machine, and reads what it declares.

use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use danube_api::BlueprintError;
use danube_blueprint::{BYTES_MAX, Blueprint, ENTRIES_MAX};
use danube_model::credential::Credential;
use danube_redact::{Rules, Secrets};
use danube_source::{
    Auth, Download, DownloadError, Fetcher, GitCredential, Secret, SourceError, Tree, Watch,
    git_settings,
};
use danube_store::Store;

use super::mistakes::{away, of_files, of_source};
use crate::settings::{BlueprintSettings, Settings};
use crate::submit::real_below;

/// How long a fetch may take: a blueprint has some megabytes at most.
const FETCH_DEADLINE: Duration = Duration::from_secs(60);

/// What to do where the server wants a credential.
const WANTED: &str = "store one and name it in `blueprint.credential`";

/// Fetches the one repository that is followed.
pub(super) struct Follower {
    settings: BlueprintSettings,
    location: String,
    fetcher: Fetcher,
    /// Where a commit's files lie while they are read.
    tree: PathBuf,
    allow_paths: Vec<PathBuf>,
    rules: Rules,
}

/// The commit of the branch.
pub(super) struct Fetched {
    pub(super) commit: String,
    /// What it declares; none for the commit that is known.
    pub(super) blueprint: Option<Blueprint>,
}

/// Why there is none.
pub(super) enum NotFetched {
    /// The server stops.
    Stopped,
    /// This.
    Failed(BlueprintError),
}

/// The operator named the repository himself, so it may be anywhere; nothing but git is
/// asked.
struct Anywhere;

impl Download for Anywhere {
    fn open(
        &self,
        _: &str,
        _: Option<&Auth>,
        _: Instant,
    ) -> Result<Box<dyn Read + Send>, DownloadError> {
        Err(DownloadError::Other("a blueprint comes by git".to_owned()))
    }

    fn may_reach(&self, _: &str, _: u16, _: Instant) -> Result<(), String> {
        Ok(())
    }
}

impl Follower {
    /// Makes its directories.
    pub(super) fn open(follow: &BlueprintSettings, settings: &Settings) -> io::Result<Self> {
        let dir = settings.data_dir.join("blueprint");
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let source = danube_source::Settings::new(dir.clone());
        Ok(Self {
            settings: follow.clone(),
            location: format!("{} of {}", follow.branch, follow.url),
            fetcher: Fetcher::new(source, Arc::new(Anywhere))?,
            tree: dir.join("tree"),
            allow_paths: settings.allow_paths.clone(),
            rules: settings.rules.clone(),
        })
    }

    pub(super) fn settings(&self) -> &BlueprintSettings {
        &self.settings
    }

    /// Which repository and branch, in the store.
    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// Fetches the branch, and reads it unless its commit is known. One at a time; may block
    /// for [`FETCH_DEADLINE`].
    pub(super) fn fetch(
        &self,
        store: &Store,
        known: Option<&str>,
        stopping: &dyn Fn() -> bool,
    ) -> Result<Fetched, NotFetched> {
        self.empty().map_err(|error| failed(&error))?;
        let repo = self.repository().map_err(NotFetched::Failed)?;
        let found = self.credential(store).map_err(NotFetched::Failed)?;
        let credential = found.as_ref().map(|it| &it.git);
        let secrets = self.secrets(found.as_ref().map(|it| &it.stored));
        let tree = Tree {
            repo: &repo,
            branch: &self.settings.branch,
            credential,
            known,
            into: &self.tree,
            entries_max: ENTRIES_MAX,
            bytes_max: BYTES_MAX as u64,
            login: WANTED,
        };
        let watch = Watch {
            deadline: Instant::now() + FETCH_DEADLINE,
            cancelled: stopping,
            say: &|_| (),
        };
        let commit = match self.fetcher.tree(&tree, &watch) {
            Ok(commit) => commit,
            Err(SourceError::Cancelled) => return Err(NotFetched::Stopped),
            Err(error) => return Err(NotFetched::Failed(of_source(&error, &secrets))),
        };
        if known == Some(commit.as_str()) {
            let blueprint = None;
            return Ok(Fetched { commit, blueprint });
        }
        let read = danube_blueprint::read(&self.tree);
        // What is left is removed before the next one.
        let _ = fs::remove_dir_all(&self.tree);
        match read {
            Ok(blueprint) => Ok(Fetched {
                commit,
                blueprint: Some(blueprint),
            }),
            Err(wrong) => {
                let error = of_files(&commit, &wrong, &secrets);
                Err(NotFetched::Failed(error))
            }
        }
    }

    /// An empty directory for a commit's files; a killed server may have left some.
    fn empty(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.tree) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&self.tree)
    }

    /// Where it is; one of this machine with all links followed, and only where it may be.
    fn repository(&self) -> Result<String, BlueprintError> {
        let url = &self.settings.url;
        let Some(path) = git_settings::local(url) else {
            return Ok(url.clone());
        };
        let real = real_below(&path, &self.allow_paths);
        let real = real.as_deref().and_then(Path::to_str);
        real.map(|it| format!("file://{it}")).ok_or_else(|| {
            let path = path.display();
            away(format!(
                "{path} isn't there, or leads out of the directories of sources.allow_paths"
            ))
        })
    }

    /// What is taken out of what is told: a server may say again what it was shown.
    fn secrets(&self, credential: Option<&Credential>) -> Secrets {
        let secrets = Secrets::new(self.rules.clone());
        let values = credential.into_iter().flat_map(|it| it.values.values());
        for value in values {
            // What can't be kept out of a text was refused when it was stored.
            let _ = secrets.register(value.reveal().as_bytes());
        }
        secrets
    }

    fn credential(&self, store: &Store) -> Result<Option<Login>, BlueprintError> {
        let Some(name) = &self.settings.credential else {
            return Ok(None);
        };
        let found = store.own_credential(name);
        let found = found.map_err(|error| away(format!("{error} (blueprint.credential)")))?;
        let git = of_git(&found).ok_or_else(|| {
            away(format!(
                "`{name}` is neither a key for ssh nor a user with a password (blueprint.credential)"
            ))
        })?;
        Ok(Some(Login { git, stored: found }))
    }
}

/// What the server is shown.
struct Login {
    git: GitCredential,
    stored: Credential,
}

fn of_git(given: &Credential) -> Option<GitCredential> {
    let id = given.name.clone();
    if let Some(key) = given.secret("private_key") {
        return Some(GitCredential::Key {
            id,
            key: Secret::new(key.reveal().to_owned()),
            known_hosts: None,
        });
    }
    Some(GitCredential::Password {
        id,
        user: given.shown("username")?.to_owned(),
        password: Secret::new(given.secret("password")?.reveal().to_owned()),
    })
}

fn failed(error: &io::Error) -> NotFetched {
    NotFetched::Failed(away(format!("make a directory for its files: {error}")))
}
