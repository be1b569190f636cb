//! What a push starts: the commit that was pushed, in each pipeline that its branch and files
//! fit, once.

use std::fs;
use std::io::Write;

use serde_json::{Value, json};

use super::{World, count, know, push, push_of, signed};
use crate::blueprint::in_force;
use crate::master::Master;
use crate::playbooks::git;
use crate::wire;

#[test]
fn each_forge_starts_what_has_its_repository_and_the_pushed_commit_is_run() {
    let world = World::new(&[
        ("build", "triggers: {manual: false, push: {}}, "),
        ("other", "triggers: {pull_request: {}}, "),
    ]);
    let master = world.master(&[]);
    let mut commits = Vec::new();
    for kind in ["github", "gitlab", "gitea"] {
        commits.push((kind, world.commit(kind)));
    }
    // Others were pushed since: each job still runs its own.
    for (kind, commit) in &commits {
        let (outcome, jobs) = push(kind, "1", commit).taken(&master);
        assert_eq!((outcome.as_str(), jobs.len()), ("started", 1));
        let ended = master.ended(&jobs[0]);
        assert_eq!(ended["status"], "success", "{ended:#}");
        assert_eq!(ended["pipeline"], "build");
        assert_eq!(ended["trigger_type"], "webhook");
        assert_eq!(ended["trigger_ref"], "main");
        assert_eq!(ended["submitted_by"], format!("{kind}:octocat"));
        let forge = &ended["forge"];
        assert_eq!(forge["commit"], *commit);
        assert_eq!(forge["name"], format!("own-{kind}"));
        assert_eq!(forge["is_fork"], false);
        let log = String::from_utf8(master.log(&jobs[0])).unwrap();
        assert!(log.contains(&format!("\n{commit}\n{kind}")), "{log}");
    }
    let shown = master.danube(&[
        "job",
        &push("gitea", "9", &commits[2].1).taken(&master).1[0],
    ]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("team/app at own-gitea"), "{shown}");
}

#[test]
fn branches_and_files_decide_and_what_is_no_push_of_a_branch_starts_nothing() {
    let world = World::new(&[
        (
            "docs",
            "triggers: {push: {branches: [main], paths: ['docs/*']}}, ",
        ),
        (
            "code",
            "triggers: {push: {branches: ['*', '!wip/*'], paths: ['!docs/*']}}, ",
        ),
    ]);
    let master = world.master(&[]);
    let commit = world.commit("second");
    let pipelines = |git_ref: &str, files: &[&str]| {
        let webhook = push_of(
            "github",
            &format!("{git_ref} {files:?}").replace(' ', "-"),
            (git_ref, &commit),
            files,
        );
        let (_, jobs) = webhook.taken(&master);
        let names = jobs.iter().map(|it| master.job(it)["pipeline"].clone());
        names
            .map(|it| it.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(pipelines("refs/heads/main", &["docs/a.md"]), ["docs"]);
    assert_eq!(
        pipelines("refs/heads/topic", &["docs/a.md", "src/b.rs"]),
        ["code"]
    );
    assert_eq!(pipelines("refs/heads/wip/x", &["src/b.rs"]), [""; 0]);
    assert_eq!(pipelines("refs/tags/v1", &["src/b.rs"]), [""; 0]);
    assert_eq!(pipelines("refs/heads/new", &[]), [""; 0], "no file changed");
    // Where the files aren't known, they don't keep anything from running.
    let forced = push_of("github", "f", ("refs/heads/forced", &commit), &[]);
    let mut body: Value = serde_json::from_slice(&forced.body).unwrap();
    body["forced"] = json!(true);
    let (_, jobs) = signed("github", "push", "g", &body).taken(&master);
    assert_eq!(jobs.len(), 1);
    let deleted = push_of("github", "d", ("refs/heads/main", super::NONE), &[]);
    let answer = deleted.send(&master).json();
    assert_eq!(answer["outcome"], "ignored");
    assert!(
        answer["ignored"][0].as_str().unwrap().contains("deleted"),
        "{answer}"
    );
    // Another repository, whatever it says of where it is.
    let mut body: Value = serde_json::from_slice(&push("github", "x", &commit).body).unwrap();
    body["repository"]["full_name"] = json!("stranger/app");
    body["repository"]["clone_url"] = json!("git://127.0.0.1/team/app");
    let (outcome, jobs) = signed("github", "push", "y", &body).taken(&master);
    assert_eq!((outcome.as_str(), jobs.len()), ("ignored", 0));
    let ping = signed("github", "ping", "z", &json!({"zen": "x", "hook_id": 1}));
    assert_eq!(ping.taken(&master).0, "ping");
}

#[test]
fn a_webhook_that_comes_again_makes_no_other_job_whatever_its_id_and_over_a_restart() {
    let world = World::new(&[("build", "triggers: {push: {}}, ")]);
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let master = world.start_in(&dir, &[]);
    know(&master, "http://127.0.0.1", None);
    let commit = world.commit("second");
    let first = push("github", "1", &commit);
    let (outcome, jobs) = first.taken(&master);
    assert_eq!(outcome, "started");
    // The same again, under another id, and told of by another body.
    let again = ("repeated".to_owned(), jobs.clone());
    assert_eq!(first.taken(&master), again);
    assert_eq!(
        first
            .clone()
            .header("x-github-delivery", "2")
            .taken(&master),
        again
    );
    let told_otherwise = push_of("github", "3", ("refs/heads/main", &commit), &["b"]);
    assert_eq!(told_otherwise.taken(&master).1, jobs);
    drop(master);
    let master = world.start_in(&dir, &[]);
    assert_eq!(first.taken(&master), again);
    assert_eq!(count(&master), 1);
    // The same commit on another branch is another run.
    let other = push_of("github", "4", ("refs/heads/other", &commit), &["b"]);
    assert_eq!(other.taken(&master).0, "started");
    assert_eq!(count(&master), 2);
}

#[test]
fn a_server_that_is_killed_before_it_answers_has_made_one_job() {
    let world = World::new(&[("build", "triggers: {push: {}}, ")]);
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = world.start_in(&dir, &["--jobs-at-once", "0"]);
    know(&master, "http://127.0.0.1", None);
    let webhook = push("gitlab", "1", &world.commit("second"));
    for round in 0..3 {
        let mut line = wire::connect(&master);
        line.write_all(&webhook.raw()).unwrap();
        if round == 0 {
            master.event(|it| it["event"] == "pipeline_triggered");
        }
        master.kill();
        drop(master);
        master = world.start_in(&dir, &["--jobs-at-once", "0"]);
    }
    let (_, jobs) = webhook.taken(&master);
    assert_eq!(jobs.len(), 1);
    assert_eq!(count(&master), 1);
}

#[test]
fn a_push_to_the_blueprints_own_repository_has_it_be_looked_at_at_once() {
    let world = World::new(&[("build", "")]);
    let dir = world.own.path().join("ops/blue");
    fs::create_dir_all(dir.parent().unwrap()).unwrap();
    fs::rename(world.own.path().join("blueprint"), &dir).unwrap();
    git(&dir, &["init", "--quiet", "-b", "main", "."]);
    let commit = |text: &str| {
        fs::write(dir.join("README"), text).unwrap();
        git(&dir, &["add", "--all"]);
        git(&dir, &["commit", "--quiet", "-m", text]);
        git(&dir, &["rev-parse", "HEAD"])
    };
    let first = commit("first");
    let url = format!("git://127.0.0.1:{}/ops/blue", world.daemon.port);
    let master = Master::with(&["--blueprint-url", &url, "--blueprint-interval", "300"]);
    know(&master, "http://127.0.0.1", None);
    in_force(&master, &first);
    let second = commit("second");
    let told = |delivery: &str, git_ref: &str, name: &str| {
        let push = push_of("gitea", delivery, (git_ref, &second), &["README"]);
        let mut body: Value = serde_json::from_slice(&push.body).unwrap();
        body["repository"]["full_name"] = json!(name);
        let answer = signed("gitea", "push", delivery, &body).send(&master);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["syncs_blueprint"] == true
    };
    assert!(!told("1", "refs/heads/main", "ops/green"));
    assert!(!told("2", "refs/heads/topic", "ops/blue"));
    assert!(told("3", "refs/heads/main", "ops/blue"));
    in_force(&master, &second);
}
