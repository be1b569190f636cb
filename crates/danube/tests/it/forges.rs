//! Forges: their webhooks start pipelines, and they hear how the jobs stand. The repository is
//! a real one that a real `git daemon` serves; what a forge sends is in the shape that it
//! documents.

mod api;
mod files;
mod forks;
mod inbox;
mod looked;
mod pushes;
mod refused;
mod told;

use std::fs;
use std::path::{Path, PathBuf};

use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::blueprint::{file, pipeline_of};
use crate::master::{Answer, Master};
use crate::playbooks::{Daemon, git};

/// The secret of every webhook here.
const SECRET: &str = "canary/webhook+secret-51bd20";

/// Forges may lie on this machine.
const ALLOWED: [&str; 3] = [
    "--forges-allow-private",
    "127.0.0.0/8",
    "--forges-allow-http",
];

/// No commit.
const NONE: &str = "0000000000000000000000000000000000000000";

/// A repository `team/app`, and a blueprint in a directory beside it.
struct World {
    own: TempDir,
    daemon: Daemon,
}

impl World {
    /// With these pipelines: their names, and what stands in their `spec` beside the
    /// repository and steps.
    fn new(pipelines: &[(&str, &str)]) -> Self {
        let own = tempfile::tempdir().unwrap();
        let world = Self {
            daemon: Daemon::start(own.path()),
            own,
        };
        fs::create_dir_all(world.repository()).unwrap();
        git(&world.repository(), &["init", "--quiet", "-b", "main", "."]);
        world.commit("first");
        world.write(
            "users/alice.yaml",
            &file("User", "alice", "{email: alice@example.org}"),
        );
        for (name, more) in pipelines {
            world.declare(name, more, "git -C . rev-parse HEAD; cat text");
        }
        world
    }

    fn repository(&self) -> PathBuf {
        self.own.path().join("team/app")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.own.path().join("blueprint").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn declare(&self, name: &str, more: &str, script: &str) {
        let url = format!("git://127.0.0.1:{}/team/app", self.daemon.port);
        let text = pipeline_of(name, &format!("repository: {url}, {more}"), script);
        self.write(&format!("pipelines/{name}.yaml"), &text);
    }

    /// A commit of the repository with this text.
    fn commit(&self, text: &str) -> String {
        let dir = self.repository();
        fs::write(dir.join("text"), text).unwrap();
        git(&dir, &["add", "--all"]);
        git(&dir, &["commit", "--quiet", "-m", text]);
        git(&dir, &["rev-parse", "HEAD"])
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let blueprint = self.own.path().join("blueprint");
        let own = ["--blueprint-dir", blueprint.to_str().unwrap()];
        let all = own.iter().chain(more);
        all.map(|it| (*it).to_owned()).collect()
    }

    fn start_in(&self, dir: &Path, more: &[&str]) -> Master {
        let arguments = self.arguments(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Master::start_in(dir, &arguments)
    }

    /// A master that knows a Gitea, a GitHub and a GitLab, all at this address.
    fn master(&self, more: &[&str]) -> Master {
        let arguments = self.arguments(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let master = Master::with(&arguments);
        know(&master, "http://127.0.0.1", None);
        master
    }
}

/// Has the master know one forge of each kind, each called `own`-something.
fn know(master: &Master, url: &str, token: Option<&str>) {
    for kind in ["gitea", "github", "gitlab"] {
        let mut body = json!({"kind": kind, "webhook_secret": SECRET, "url": url});
        if let Some(token) = token {
            body["token"] = json!(token);
        }
        let path = format!("/api/v1/credentials/own-{kind}");
        let made = master.call("PUT", &path, Some(&body));
        assert_eq!(made.status, 201, "{}", made.text());
    }
}

/// A webhook as it is sent.
#[derive(Clone)]
struct Webhook {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Webhook {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(it, _)| it != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[track_caller]
    fn send(&self, master: &Master) -> Answer {
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        master.request("POST", &self.path, &headers, &self.body)
    }

    /// The same, which has to be taken: its outcome and its jobs.
    #[track_caller]
    fn taken(&self, master: &Master) -> (String, Vec<String>) {
        let answer = self.send(master);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        let jobs = answer["jobs"].as_array().unwrap().iter();
        let jobs = jobs.map(|it| it.as_str().unwrap().to_owned()).collect();
        (answer["outcome"].as_str().unwrap().to_owned(), jobs)
    }

    /// As it goes over the wire, whole.
    fn raw(&self) -> Vec<u8> {
        let mut head = format!("POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\n", self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        [head.as_bytes(), &self.body].concat()
    }
}

fn sign(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body);
    tag.as_ref().iter().map(|it| format!("{it:02x}")).collect()
}

fn signed(kind: &str, event: &str, delivery: &str, body: &Value) -> Webhook {
    let body = body.to_string().into_bytes();
    let signature = sign(SECRET, &body);
    let pairs = match kind {
        "github" => vec![
            ("x-github-event", event.to_owned()),
            ("x-github-delivery", delivery.to_owned()),
            ("x-hub-signature-256", format!("sha256={signature}")),
        ],
        "gitea" => vec![
            ("x-gitea-event", event.to_owned()),
            ("x-gitea-delivery", delivery.to_owned()),
            ("x-gitea-signature", signature),
        ],
        _ => vec![
            ("x-gitlab-event", event.to_owned()),
            ("idempotency-key", delivery.to_owned()),
            ("x-gitlab-token", SECRET.to_owned()),
        ],
    };
    let pairs = pairs.into_iter();
    let mut headers: Vec<(String, String)> =
        pairs.map(|(name, it)| (name.to_owned(), it)).collect();
    headers.push(("content-type".to_owned(), "application/json".to_owned()));
    Webhook {
        path: format!("/api/v1/forges/{kind}/own-{kind}"),
        headers,
        body,
    }
}

/// A push of `main` in the words of each forge.
fn push(kind: &str, delivery: &str, commit: &str) -> Webhook {
    push_of(kind, delivery, ("refs/heads/main", commit), &["src/a.rs"])
}

fn push_of(kind: &str, delivery: &str, (git_ref, commit): (&str, &str), files: &[&str]) -> Webhook {
    let commits =
        json!([{"id": commit, "message": "x", "added": files, "removed": [], "modified": []}]);
    let body = match kind {
        "gitlab" => json!({
            "object_kind": "push", "event_name": "push", "before": NONE, "after": commit, "ref": git_ref,
            "user_username": "octocat", "project_id": 15, "commits": commits, "total_commits_count": 1,
            "project": {"id": 15, "path_with_namespace": "team/app", "git_http_url": "http://evil.example/x.git"},
        }),
        _ => json!({
            "ref": git_ref, "before": NONE, "after": commit, "commits": commits, "total_commits": 1, "forced": false,
            "repository": {"id": 1, "full_name": "team/app", "clone_url": "http://evil.example/x.git"},
            "pusher": {"name": "octocat"}, "sender": {"login": "octocat"},
        }),
    };
    let event = if kind == "gitlab" {
        "Push Hook"
    } else {
        "push"
    };
    signed(kind, event, delivery, &body)
}

/// A request to merge `commit` into `main`, from the repository with this id; its own is 1.
fn request(kind: &str, delivery: &str, (commit, from): (&str, u64)) -> Webhook {
    let (body, event) = match kind {
        "gitlab" => (
            json!({
                "object_kind": "merge_request", "user": {"username": "stranger"},
                "project": {"id": 1, "path_with_namespace": "team/app"},
                "object_attributes": {"iid": 7, "action": "open", "source_branch": "topic", "target_branch": "main",
                    "source_project_id": from, "target_project_id": 1, "last_commit": {"id": commit}},
            }),
            "Merge Request Hook",
        ),
        _ => (
            json!({
                "action": "opened", "number": 7,
                "pull_request": {"number": 7,
                    "head": {"ref": "topic", "sha": commit, "repo": {"id": from, "full_name": "stranger/app"}},
                    "base": {"ref": "main", "sha": NONE, "repo": {"id": 1, "full_name": "team/app"}}},
                "repository": {"id": 1, "full_name": "team/app"}, "sender": {"login": "stranger"},
            }),
            "pull_request",
        ),
    };
    signed(kind, event, delivery, &body)
}

/// How many jobs there are.
fn count(master: &Master) -> usize {
    let list = master.get("/api/v1/jobs").json();
    list["jobs"].as_array().unwrap().len()
}

/// A webhook that is refused, a forge that can't be told, and what finds no room.
pub(crate) fn provoked() -> Option<Vec<String>> {
    let spec = "cancel_superseded: true, triggers: {push: {}}, ";
    let world = World::new(&[("build", spec)]);
    let master = world.master(&["--jobs-at-once", "0", "--max-pending", "1"]);
    let forged = push("github", "1", NONE).header("x-hub-signature-256", "sha256=00");
    assert_eq!(forged.send(&master).status, 401);
    // It has a token from now on, but not leave to lie here.
    let body = json!({"kind": "gitea", "webhook_secret": SECRET, "url": "http://127.0.0.1", "token": SECRET});
    master.call("PUT", "/api/v1/credentials/own-gitea", Some(&body));
    push("gitea", "1", &world.commit("second")).taken(&master);
    master.event(|it| it["event"] == "commit_status_failed");
    for text in ["third", "fourth"] {
        let commit = world.commit(text);
        let webhook = push_of("gitea", text, ("refs/heads/topic", &commit), &["a"]);
        assert_eq!(webhook.send(&master).status, 202);
    }
    master.event(|it| it["event"] == "webhook_kept");
    master.event(|it| it["event"] == "webhook_dropped");
    Some(master.log_lines())
}
