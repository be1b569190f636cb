//! A fetcher over real HTTP, directories of a test, and what a fetch left.

use std::cell::RefCell;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use danube_model::playbook::source::Source;
use danube_source::{
    Auth, Download, DownloadError, Fetched, Fetcher, GitCredential, Request, Settings, SourceError,
    Watch,
};
use tempfile::TempDir;

/// Long enough for anything that ends at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Reads addresses as they are: the tests' servers are on this machine.
pub(crate) struct Plain;

impl Download for Plain {
    fn open(
        &self,
        url: &str,
        auth: Option<&Auth>,
        deadline: Instant,
    ) -> Result<Box<dyn Read + Send>, DownloadError> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(deadline.saturating_duration_since(Instant::now())))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        let mut request = agent.get(url);
        if let Some(auth) = auth {
            let value = match auth {
                Auth::Bearer(token) => format!("Bearer {}", token.expose()),
                Auth::Basic { user, password } => format!("Basic {user}:{}", password.expose()),
            };
            request = request.header("authorization", value);
        }
        let answer = request
            .call()
            .map_err(|error| DownloadError::Other(error.to_string()))?;
        match answer.status().as_u16() {
            200 => Ok(Box::new(answer.into_body().into_reader())),
            status => Err(DownloadError::Status(status)),
        }
    }

    fn may_reach(&self, host: &str, _: u16, _: Instant) -> Result<(), String> {
        if host == "forbidden.example" {
            return Err("forbidden.example may not be reached".to_owned());
        }
        Ok(())
    }
}

/// A cache, a fetcher, and directories of jobs beside something that none of
/// them may touch.
pub(crate) struct World {
    pub(crate) directory: TempDir,
    pub(crate) fetcher: Fetcher,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(directory.path().join("cache"));
        settings.home = directory.path().join("home");
        change(&mut settings);
        fs::write(directory.path().join("canary"), "sings").unwrap();
        let fetcher = Fetcher::new(settings, Arc::new(Plain)).unwrap();
        Self { directory, fetcher }
    }

    /// An empty directory of a job.
    pub(crate) fn job(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    pub(crate) fn fetch(&self, source: &Source, into: &Path) -> Result<Fetched, SourceError> {
        self.fetch_with(source, into, None, None)
    }

    pub(crate) fn fetch_with(
        &self,
        source: &Source,
        into: &Path,
        git: Option<&GitCredential>,
        nexus: Option<&Auth>,
    ) -> Result<Fetched, SourceError> {
        let request = Request {
            source,
            git,
            nexus,
            into,
        };
        let (said, _) = self.watched(&request, PATIENCE);
        said
    }

    /// Fetches with a deadline; with the lines that the job's log would have.
    pub(crate) fn watched(
        &self,
        request: &Request<'_>,
        patience: Duration,
    ) -> (Result<Fetched, SourceError>, Vec<String>) {
        let lines = RefCell::new(Vec::new());
        let watch = Watch {
            deadline: Instant::now() + patience,
            cancelled: &|| false,
            say: &|line| lines.borrow_mut().push(line.to_owned()),
        };
        let fetched = self.fetcher.fetch(request, &watch);
        (fetched, lines.into_inner())
    }
}

/// What is below a directory: names, kinds and contents.
pub(crate) fn snapshot(directory: &Path) -> Vec<String> {
    let mut all = Vec::new();
    walk(directory, directory, &mut all);
    all.sort();
    all
}

fn walk(root: &Path, directory: &Path, all: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_symlink() {
            all.push(format!(
                "{name} -> {}",
                fs::read_link(&path).unwrap().display()
            ));
        } else if metadata.is_dir() {
            all.push(format!("{name}/"));
            walk(root, &path, all);
        } else {
            let content = fs::read(&path).unwrap();
            all.push(format!("{name} = {}", String::from_utf8_lossy(&content)));
        }
    }
}
