//! Roles and collections that a source requires from elsewhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::sources::{Daemon, git};
use super::{ansible_or_skip, ended, order, serve_files};
use crate::elsewhere::Elsewhere;
use crate::master::{Master, id};

const META: &str =
    "galaxy_info: {author: a, description: a, license: a, min_ansible_version: '2.9'}\n";

/// A project that needs a role out of git, a role in an archive and a collection out of git;
/// all of them are served as long as this lives.
struct Project {
    dir: tempfile::TempDir,
    _daemon: Daemon,
}

impl Project {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let served = dir.path().join("served");
        let role = |says: &str| {
            vec![
                ("tasks/main.yml", format!("- debug: {{msg: '{says}'}}\n")),
                ("meta/main.yml", META.to_owned()),
            ]
        };
        files(&served.join("base"), &role("the role out of git"));
        files(&served.join("packed"), &role("the role of an archive"));
        let galaxy =
            "{namespace: acme, name: tools, version: 1.0.0, readme: README.md, authors: [a]}\n";
        let mut collection = vec![
            ("galaxy.yml", galaxy.to_owned()),
            ("README.md", "x\n".to_owned()),
        ];
        let tasks = "- debug: {msg: 'the role of a collection'}\n".to_owned();
        collection.push(("roles/say/tasks/main.yml", tasks));
        files(&served.join("tools"), &collection);
        for repository in ["base", "tools"] {
            let repository = served.join(repository);
            git(&repository, &["init", "--quiet", "."]);
            git(&repository, &["add", "."]);
            git(&repository, &["commit", "--quiet", "-m", "all"]);
        }
        let archive = served.join("packed.tar.gz");
        let packed = Command::new("tar")
            .args(["czf", archive.to_str().unwrap(), "packed"])
            .current_dir(&served)
            .status();
        assert!(packed.unwrap().success());
        let http = serve_files(vec![("/packed.tar.gz", fs::read(archive).unwrap())]);
        let daemon = Daemon::start(&served);
        let git = format!("git://127.0.0.1:{}", daemon.port);
        let needs = format!(
            "roles:\n- {{src: '{git}/base', scm: git, name: base}}\n- {{src: '{http}/packed.tar.gz', name: packed}}\ncollections:\n- {{name: '{git}/tools', type: git}}\n"
        );
        let site =
            "- hosts: all\n  gather_facts: false\n  roles: [own, base, packed, acme.tools.say]\n";
        let own = "- debug: {msg: 'the role of a path of its own'}\n";
        let project = [
            ("requirements.yml", needs),
            ("site.yml", site.to_owned()),
            (
                "ansible.cfg",
                "[defaults]\nroles_path = ./vendored\n".to_owned(),
            ),
            ("vendored/own/tasks/main.yml", own.to_owned()),
        ];
        files(&dir.path().join("project"), &project);
        Self {
            dir,
            _daemon: daemon,
        }
    }

    fn order(&self) -> Value {
        let path = self.dir.path().join("project");
        order(json!({"type": "local", "path": path, "playbook": "site.yml"}))
    }
}

fn files(dir: &Path, all: &[(&str, String)]) {
    for (name, text) in all {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn log(master: &Master, job: &Value) -> String {
    String::from_utf8(master.log(&id(job))).unwrap()
}

#[test]
fn what_a_source_requires_is_installed_where_the_operator_allows_it() {
    if !ansible_or_skip("requirements of a source") {
        return;
    }
    let project = Project::new();
    let master = Master::with(&["--sources-galaxy"]);
    let job = ended(&master, &project.order());
    let text = log(&master, &job);
    assert_eq!(job["status"], "success", "{text}");
    for says in [
        "the role of a path of its own",
        "the role out of git",
        "the role of an archive",
        "the role of a collection",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    // What Galaxy says is output of the step that fetches.
    let steps = job["steps"].as_array().unwrap();
    assert_eq!(steps[0]["name"], "fetch_source");
    let path = format!("/api/v1/jobs/{}/logs?step=fetch_source", id(&job));
    let fetching = master.get(&path).text();
    assert!(
        fetching.contains("base was installed successfully"),
        "{fetching}"
    );
    assert!(!project.dir.path().join("project/galaxy").exists());
}

#[test]
fn without_leave_nothing_is_installed_and_the_log_says_so() {
    if !ansible_or_skip("requirements that aren't allowed") {
        return;
    }
    let project = Project::new();
    let master = Master::start();
    let job = ended(&master, &project.order());
    assert_eq!(job["status"], "failed", "{job:#}");
    let text = log(&master, &job);
    let said = text.lines().filter(|it| it.contains("sources.galaxy"));
    let expected = "danube: requirements.yml isn't installed: the operator doesn't allow it (`sources.galaxy`)";
    assert_eq!(said.collect::<Vec<_>>(), [expected]);
    assert!(text.contains("the role 'base' was not found"), "{text}");
    let event = master.event(|it| it["event"] == "job_failed" && it["job_id"] == job["id"]);
    assert_eq!(event["error_type"], "playbook_invalid");
}

#[test]
fn requirements_that_can_not_be_installed_end_the_job_with_a_reason() {
    if !ansible_or_skip("requirements that are nowhere") {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    // Nobody listens at the discard port.
    let needs = "- {src: 'http://127.0.0.1:9/none.tar.gz', name: none}\n";
    let project = [
        ("roles/requirements.yml", needs.to_owned()),
        ("site.yml", "- hosts: all\n  roles: [none]\n".to_owned()),
    ];
    files(own.path(), &project);
    let master = Master::with(&["--sources-galaxy"]);
    let source = json!({"type": "local", "path": own.path(), "playbook": "site.yml"});
    let job = ended(&master, &order(source));
    assert_eq!(
        job["reason"], "what roles/requirements.yml names couldn't be installed; the log says why",
        "{job:#}"
    );
    let event = master.event(|it| it["event"] == "job_failed" && it["job_id"] == job["id"]);
    assert_eq!(event["error_type"], "source_failed");
    assert!(
        log(&master, &job).contains("none was NOT installed"),
        "{job:#}"
    );
}

#[test]
fn a_collection_without_address_comes_from_the_server_that_the_operator_names() {
    if !ansible_or_skip("a Galaxy server") {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    let project = [
        (
            "collections/requirements.yml",
            "collections: [acme.tools]\n".to_owned(),
        ),
        ("site.yml", "- hosts: all\n".to_owned()),
    ];
    files(own.path(), &project);
    // It knows nothing, which is enough to see that it was asked.
    let address = serve_files(Vec::new());
    let master = Master::with(&["--sources-galaxy", "--sources-galaxy-server", &address]);
    let source = json!({"type": "local", "path": own.path(), "playbook": "site.yml"});
    let job = ended(&master, &order(source));
    assert_eq!(job["status"], "failed", "{job:#}");
    let text = log(&master, &job);
    assert!(text.contains(&address), "{text}");
}

#[test]
fn a_worker_elsewhere_has_a_setting_of_its_own() {
    if !ansible_or_skip("requirements on a worker elsewhere") {
        return;
    }
    let project = Project::new();
    let master = Master::with(&["--jobs-at-once", "0"]);
    let _worker = Elsewhere::in_environment(&master, "far", &[("DANUBE_SOURCES_GALAXY", "true")]);
    let job = ended(&master, &project.order());
    let text = log(&master, &job);
    assert_eq!(job["status"], "success", "{text}");
    assert!(text.contains("the role of a collection"), "{text}");
}
