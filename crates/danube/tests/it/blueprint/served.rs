//! A blueprint in a repository that a real `git daemon` serves.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::health;
use crate::master::{DEADLINE, Master};
use crate::playbooks::{Daemon, git};
use crate::processes::until;

/// A file of a blueprint.
pub(crate) fn file(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: danube.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

/// A pipeline of one step.
pub(crate) fn pipeline(name: &str, more: &str) -> String {
    pipeline_of(name, more, "echo from the blueprint")
}

/// A pipeline of one step, which does this.
pub(crate) fn pipeline_of(name: &str, more: &str, script: &str) -> String {
    let spec = format!("{{{more}steps: [{{name: say, run: '{script}'}}]}}");
    file("Pipeline", name, &spec)
}

/// A repository with a user, a team and a pipeline `build`, and who serves it.
pub(crate) struct Served {
    own: TempDir,
    daemon: Option<Daemon>,
    port: u16,
}

impl Served {
    pub(crate) fn new() -> Self {
        let own = tempfile::tempdir().unwrap();
        let daemon = Daemon::start(own.path());
        let served = Self {
            port: daemon.port,
            daemon: Some(daemon),
            own,
        };
        fs::create_dir(served.dir()).unwrap();
        git(&served.dir(), &["init", "--quiet", "."]);
        served.write(
            "users/alice.yaml",
            &file("User", "alice", "{email: alice@example.org}"),
        );
        served.write("teams/web.yaml", &file("Team", "web", "{members: [alice]}"));
        served.write("pipelines/build.yaml", &pipeline("build", ""));
        served.commit();
        served
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.own.path().join("blue")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.dir().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What is there now becomes the branch's commit.
    pub(crate) fn commit(&self) -> String {
        let dir = self.dir();
        git(&dir, &["add", "--all"]);
        git(
            &dir,
            &["commit", "--quiet", "--allow-empty", "-m", "change"],
        );
        git(&dir, &["rev-parse", "HEAD"])
    }

    pub(crate) fn url(&self) -> String {
        format!("git://127.0.0.1:{}/blue", self.port)
    }

    /// Nobody serves it any more.
    pub(crate) fn stop(&mut self) {
        self.daemon = None;
    }

    /// It is served again, at the same address.
    pub(crate) fn serve(&mut self) {
        self.daemon = Some(Daemon::at(self.own.path(), self.port));
    }

    /// What a master needs to follow it closely.
    pub(crate) fn arguments(&self) -> [String; 4] {
        let [url, interval] = ["--blueprint-url", "--blueprint-interval"].map(str::to_owned);
        [url, self.url(), interval, "1".to_owned()]
    }

    /// A master that follows it and has it in force.
    pub(crate) fn master(&self, more: &[&str]) -> Master {
        self.master_every("1", more)
    }

    /// The same, which looks so often.
    pub(crate) fn master_every(&self, seconds: &str, more: &[&str]) -> Master {
        let url = self.url();
        let own = ["--blueprint-url", &url, "--blueprint-interval", seconds];
        let master = Master::with(&[&own, more].concat());
        let commit = git(&self.dir(), &["rev-parse", "HEAD"]);
        in_force(&master, &commit);
        master
    }
}

/// How the blueprint stands.
#[track_caller]
pub(crate) fn shown(master: &Master) -> Value {
    let answer = master.get("/api/v1/blueprint");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Waits until this commit is in force, and all is well.
#[track_caller]
pub(crate) fn in_force(master: &Master, commit: &str) -> Value {
    until("the commit is in force", DEADLINE, || {
        let shown = shown(master);
        let is_well = shown["commit"] == commit && shown.get("error").is_none();
        (is_well && shown.get("last_success").is_some()).then_some(shown)
    })
}

/// What the health check says once it is in this state.
#[track_caller]
pub(crate) fn check(master: &Master, status: &str) -> String {
    until("the check says so", DEADLINE, || {
        let found = health::check(master, "blueprint_sync");
        (found["status"] == status)
            .then(|| found["message"].as_str().unwrap_or_default().to_owned())
    })
}

/// Another blueprint, one that is wrong, and the end of it: what is told of each.
pub(crate) fn provoked() -> Option<Vec<String>> {
    let served = Served::new();
    let master = served.master(&[]);
    served.write("teams/web.yaml", "wrong: [");
    served.commit();
    master.event(|it| it["event"] == "blueprint_sync_failed");
    Some(master.log_lines())
}
