//! What a worker needs for playbooks, found once: Ansible itself, and what fetches sources.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;

use danube_ansible::{NoAnsible, Version};
use danube_outgoing::Rule;
use danube_signals::{AnsibleChecked, Signals};
use danube_source::Fetcher;

use crate::downloads::Downloads;

/// The operator's decisions about playbooks.
#[derive(Debug, Clone, Default)]
pub struct PlaybookSettings {
    /// Where mirrors of repositories are kept; none for a worker that fetches no sources,
    /// because its playbooks are where it runs.
    pub cache: Option<PathBuf>,
    /// Networks and hosts that sources may come from although they aren't public.
    pub allow_private: Vec<Rule>,
    /// Whether what a source requires is installed by `ansible-galaxy`, and how.
    pub galaxy: Option<Galaxy>,
}

/// How requirements of sources are installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Galaxy {
    /// The server that is asked for what has no address of its own; none for the public one.
    pub server: Option<String>,
}

/// What a worker has for playbooks. Clones share it.
#[derive(Clone)]
pub(crate) struct Playbooks {
    pub(crate) fetcher: Option<Arc<Fetcher>>,
    pub(crate) galaxy: Option<Galaxy>,
    ansible: Arc<OnceLock<Result<Version, NoAnsible>>>,
    /// Where Ansible is looked for.
    path: String,
}

impl Playbooks {
    pub(crate) fn open(
        settings: &PlaybookSettings,
        path: &str,
        signals: &Signals,
    ) -> io::Result<Self> {
        let PlaybookSettings {
            cache,
            allow_private,
            galaxy,
        } = settings;
        let fetcher = cache.clone().map(|cache| {
            let fetch = danube_source::Settings {
                // Where a source may be was decided when its job was submitted.
                allow_paths: vec![PathBuf::from("/")],
                ..danube_source::Settings::new(cache)
            };
            let downloads = Downloads::new(allow_private.clone(), signals);
            Fetcher::new(fetch, Arc::new(downloads)).map(Arc::new)
        });
        Ok(Self {
            fetcher: fetcher.transpose()?,
            galaxy: galaxy.clone(),
            ansible: Arc::default(),
            path: path.to_owned(),
        })
    }

    /// Looks for Ansible on a thread of its own, and tells what it found: that takes half
    /// a second, for which a start shouldn't wait.
    pub(crate) fn look(&self, worker: &str, signals: &Signals) {
        let (looks, worker, signals) = (self.clone(), worker.to_owned(), signals.clone());
        let thread = thread::Builder::new().name("find-ansible".to_owned());
        // Without a thread, the first job looks.
        let _ = thread.spawn(move || {
            let found = looks.ansible();
            let version = found.as_ref().ok().map(ToString::to_string);
            let error = found.as_ref().err().map(ToString::to_string);
            signals.emit(AnsibleChecked {
                worker_id: &worker,
                version: version.as_deref(),
                error: error.as_deref(),
            });
        });
    }

    /// The Ansible of this worker; waits while it is still looked for.
    ///
    /// # Errors
    /// Why there is none, and what to do.
    pub(crate) fn ansible(&self) -> Result<Version, NoAnsible> {
        let found = self
            .ansible
            .get_or_init(|| danube_ansible::find(&self.path));
        found.clone()
    }

    /// Whether playbooks can be run here, as far as that is known.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.ansible.get(), Some(Ok(_)))
    }
}
