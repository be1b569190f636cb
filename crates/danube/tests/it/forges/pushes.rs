//! What a push starts: the commit that was pushed, in each pipeline that its branch and files
//! fit, once.

use std::fs;
use std::io::Write;

use serde_json::{Value, json};

use super::{Webhook, World, count, know, push, push_of, signed};
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

/// A push of a tag with a message in the words of each forge: its own object, and its commit.
fn tag(kind: &str, name: &str, (object, commit): (&str, Option<&str>)) -> Webhook {
    let delivery = format!("{name}-{object}");
    let plain = push_of(kind, "", (&format!("refs/tags/{name}"), object), &[]);
    let mut body: Value = serde_json::from_slice(&plain.body).unwrap();
    body["commits"] = json!([]);
    body["total_commits"] = json!(0);
    if kind == "gitlab" {
        body["object_kind"] = json!("tag_push");
        body["checkout_sha"] = json!(commit);
        return signed(kind, "Tag Push Hook", &delivery, &body);
    }
    body["head_commit"] = commit.map_or(Value::Null, |it| json!({"id": it}));
    signed(kind, "push", &delivery, &body)
}

#[test]
fn a_tag_starts_what_asks_for_it_with_the_commit_that_it_leads_to() {
    let world = World::new(&[
        (
            "both",
            "triggers: {push: {branches: [main], tags: ['*']}}, ",
        ),
        ("build", "triggers: {push: {}}, "),
    ]);
    world.declare(
        "release",
        "triggers: {push: {tags: ['v*', '!*-rc*'], paths: ['docs/*']}}, ",
        "git rev-parse HEAD; echo \"ref $DANUBE_REF\"",
    );
    let master = world.master(&[]);
    for kind in ["github", "gitlab", "gitea"] {
        let commit = world.commit(kind);
        let (name, rc) = (format!("v1-{kind}"), format!("v1-{kind}-rc1"));
        git(&world.repository(), &["tag", "-a", "-m", "it is", &name]);
        let object = git(&world.repository(), &["rev-parse", &name]);
        assert_ne!(object, commit, "it has an object of its own");
        world.commit("later");
        let (_, jobs) = tag(kind, &name, (&object, Some(&commit))).taken(&master);
        let mut found: Vec<_> = jobs.iter().map(|it| master.ended(it)).collect();
        found.sort_by_key(|it| it["pipeline"].as_str().map(str::to_owned));
        let names: Vec<_> = found.iter().map(|it| it["pipeline"].clone()).collect();
        assert_eq!(names, ["both", "release"]);
        let release = &found[1];
        assert_eq!(release["status"], "success", "{release:#}");
        assert_eq!(release["trigger_ref"], format!("refs/tags/{name}"));
        assert_eq!(release["forge"]["commit"], commit);
        let log = master.log(release["id"].as_str().unwrap());
        let log = String::from_utf8(log).unwrap();
        let expected = format!("\n{commit}\nref refs/tags/{name}\n");
        assert!(log.contains(&expected), "{log}");
        let (_, jobs) = tag(kind, &rc, (&commit, Some(&commit))).taken(&master);
        assert_eq!(master.job(&jobs[0])["pipeline"], "both");
        assert_eq!(jobs.len(), 1, "one is taken out again");
        let deleted = tag(kind, &name, (super::NONE, None)).send(&master).json();
        assert_eq!(deleted["outcome"], "ignored", "{deleted}");
        let why = deleted["ignored"][0].as_str().unwrap();
        assert!(why.contains("the tag was deleted"), "{why}");
        let branch = push(kind, "branch", &commit).taken(&master).1;
        let names = branch.iter().map(|it| master.job(it)["pipeline"].clone());
        assert_eq!(names.collect::<Vec<_>>(), ["both", "build"], "tags alone");
    }
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
