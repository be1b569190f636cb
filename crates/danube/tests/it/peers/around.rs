//! What a whole master has around it: without that, some families have nothing to show.

use std::fs;

use super::jobs;
use crate::blueprint::Served;
use crate::master::{DEADLINE, Master};
use crate::processes::until;
use crate::registry::{DockerRegistry, Image, pull};
use crate::secrets;

/// The image that is pushed and pulled.
const IMAGE: &str = "team/app:v1";

/// The other programs, for one master.
pub(crate) struct Around {
    registry: DockerRegistry,
    blueprint: Served,
}

impl Around {
    /// Starts them.
    pub(crate) fn start() -> Self {
        Self {
            registry: DockerRegistry::start(),
            blueprint: Served::new(),
        }
    }

    /// A master that knows of them.
    #[track_caller]
    pub(crate) fn master(&self, arguments: &[&str]) -> Master {
        let url = self.registry.url();
        let more = [arguments, &["--registry-url", &url]].concat();
        self.blueprint.master_every("300", &more)
    }

    /// Has each of them used once: an image comes and goes, and so does a worker elsewhere; and
    /// what only a job with a secret moves.
    #[track_caller]
    pub(crate) fn used_by(&mut self, master: &Master) {
        let token = fs::read_to_string(master.dir.join("registry.token")).unwrap();
        self.registry.tell(&master.address, token.trim());
        Image::with(b"content").push(&self.registry.address, IMAGE);
        let pulled = pull(&self.registry.address, IMAGE);
        assert!(pulled.status.success(), "{pulled:?}");
        let is_counted =
            |name: &str| master.metric(&format!("{name}{{image=\"team/app\"}}")) >= 1.0;
        until("the image is counted", DEADLINE, || {
            let both = is_counted("danube_registry_pushes_total")
                && is_counted("danube_registry_pulls_total");
            both.then_some(())
        });
        secrets::set(master, "deploy");
        jobs::counted(master, &secrets::used_twice(master));
        jobs::visited(master, "far");
    }
}
