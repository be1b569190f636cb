//! `danube doctor` on machines that have what is needed, and on some on which it is
//! really broken: each check is seen to fail.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::responder::{Answer, Responder};
use crate::collector::{self, Collector};
use crate::faults::{SmallDisk, files};
use crate::master::{DANUBE, DEADLINE, Master};
use crate::processes::{root_or_skip, until};
use crate::redis::Redis;
use crate::registry::DockerRegistry;

/// A machine as far as a doctor looks at it.
struct Patient {
    own: TempDir,
    dir: PathBuf,
    variables: Vec<(String, String)>,
    /// Words before the program's own.
    by: Vec<String>,
}

impl Patient {
    fn new() -> Self {
        let own = tempfile::tempdir().unwrap();
        let dir = own.path().join("data");
        let mut patient = Self {
            own,
            dir,
            variables: Vec::new(),
            by: Vec::new(),
        };
        let home = patient.own.path().to_str().unwrap().to_owned();
        patient.set("HOME", &home);
        // Another test's server, or somebody's, must not be in the way.
        patient.set("DANUBE_SERVER_LISTEN", "127.0.0.1:0");
        patient
    }

    /// The same with this data directory.
    fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            ..Self::new()
        }
    }

    /// One whose data directory was used by a master that has ended.
    fn used() -> Self {
        let patient = Self::new();
        let mut master = Master::start_in(&patient.dir, &[]);
        master.signal("TERM");
        assert!(master.wait().success());
        patient
    }

    fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn by(&mut self, words: &[&str]) -> &mut Self {
        self.by = words.iter().map(|it| (*it).to_owned()).collect();
        self
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let words: Vec<&str> = self.by.iter().map(String::as_str).collect();
        let words = [&words[..], &[DANUBE, "doctor"], arguments].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command.env_remove("DANUBE_SERVER");
        command.env("DANUBE_SERVER_DATA_DIR", &self.dir);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.output().unwrap()
    }

    /// What is said of a check: status, detail, and what to do.
    #[track_caller]
    fn said(&self, check: &str) -> (String, String, String) {
        let output = self.ask(&["--output", "json"]);
        let said: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let checks = said["checks"].as_array().unwrap();
        let failed = checks.iter().any(|it| it["status"] == "failed");
        assert_eq!(output.status.code(), Some(i32::from(failed)), "{said}");
        let found = checks.iter().find(|it| it["check"] == check);
        let found = found.unwrap_or_else(|| panic!("{said}"));
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("detail"), text("fix"))
    }

    /// That a check has this status, and says this.
    #[track_caller]
    fn is(&self, check: &str, status: &str, words: &[&str]) {
        let (found, detail, fix) = self.said(check);
        assert_eq!(found, status, "{check}: {detail}");
        assert_eq!(
            fix.is_empty(),
            matches!(status, "ok" | "disabled"),
            "whoever hears of trouble hears what to do: {detail}: {fix}"
        );
        for word in words {
            let is_said = detail.contains(word) || fix.contains(word);
            assert!(is_said, "no {word:?} in {check}: {detail}: {fix}");
        }
    }
}

#[test]
fn a_healthy_machine_has_a_line_for_each_check_and_nothing_is_changed() {
    let mut patient = Patient::used();
    // Whether this machine has Ansible is another question.
    let bin = with_ansible("2.16.3");
    let path = format!("{}:/usr/bin:/bin", bin.path().display());
    patient.set("DANUBE_STEPS_PATH", &path);
    let before = files(&patient.dir);
    for check in [
        "settings",
        "directory",
        "keys",
        "database",
        "address",
        "git",
        "ansible",
    ] {
        assert_eq!(patient.said(check).0, "ok", "{check}");
    }
    for check in [
        "server",
        "redis",
        "registry",
        "forges",
        "oidc",
        "collector",
        "alertmanager",
    ] {
        patient.is(check, "disabled", &[]);
    }
    assert!(files(&patient.dir) == before, "something was changed");
    patient.is(
        "database",
        "ok",
        &["schema", "every page is well", "SQLite 3."],
    );
    // For people, a line each.
    let shown = String::from_utf8(patient.ask(&[]).stdout).unwrap();
    assert_eq!(shown.lines().count(), 22, "{shown}");
    let is_told = |it: &str| it.starts_with("database") && it.contains("ok");
    assert!(shown.lines().any(is_told), "{shown}");
    // A directory that isn't there yet is no trouble.
    let new = Patient::new();
    new.is("directory", "ok", &["will be made"]);
    new.is("database", "disabled", &[]);
    new.is("keys", "disabled", &[]);
    assert!(!new.dir.exists());
}

#[test]
fn every_mistake_in_the_settings_is_named_and_the_rest_is_looked_at() {
    let patient = Patient::new();
    let file = patient.own.path().join("danube.toml");
    let text = "[server]\nlisten = \"nowhere\"\n[queue]\njobs_at_once = -3\n";
    fs::write(&file, text).unwrap();
    let mut patient = patient;
    patient
        .variables
        .retain(|(name, _)| name != "DANUBE_SERVER_LISTEN");
    patient.set("DANUBE_CONFIG", file.to_str().unwrap());
    patient.is("settings", "failed", &["line 2", "line 4", "danube.toml"]);
    patient.is("git", "ok", &[]);
    patient.is("disk", "disabled", &["settings"]);
    // The same file by flag, and a directory of its own.
    patient
        .variables
        .retain(|(name, _)| name != "DANUBE_CONFIG");
    let words = [
        "--config",
        file.to_str().unwrap(),
        "--data-dir",
        "/nowhere/at/all",
    ];
    let output = patient.ask(&words);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("line 4"), "{shown}");
}

#[test]
fn a_data_directory_that_others_can_change_or_that_is_none_is_found() {
    let patient = Patient::used();
    fs::set_permissions(&patient.dir, Permissions::from_mode(0o777)).unwrap();
    patient.is(
        "directory",
        "failed",
        &["changed by others", "mode 777", "chmod go-w"],
    );
    let file = Patient::new();
    fs::write(&file.dir, "no directory").unwrap();
    file.is("directory", "failed", &["is no directory"]);
    if !root_or_skip("giving a directory to somebody else") {
        return;
    }
    fs::set_permissions(&patient.dir, Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&patient.dir, Some(1234), None).unwrap();
    let mut other = Patient::at(&patient.dir);
    // Root without its rights is a user like any other.
    other.by(&["setpriv", "--bounding-set=-all", "--inh-caps=-all"]);
    other.is("directory", "failed", &["belongs to user 1234"]);
    let below = Patient::at(&patient.dir.join("below"));
    below.is("directory", "ok", &["will be made"]);
}

#[test]
fn a_full_a_read_only_and_a_passing_disk_are_found() {
    if !root_or_skip("mounting a small disk") {
        return;
    }
    let disk = SmallDisk::mount("16m");
    let patient = Patient::at(&disk.dir.join("data"));
    patient.is(
        "filesystem",
        "degraded",
        &["tmpfs", "move the data directory"],
    );
    patient.is("disk", "ok", &["MiB are free"]);
    fs::write(disk.dir.join("much"), vec![0; 15 << 20]).unwrap();
    patient.is("disk", "degraded", &["are free, 6 %", "retention"]);
    disk.fill();
    patient.is("disk", "failed", &["0 MiB are free"]);
    let remounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(&disk.dir)
        .status();
    assert!(remounted.unwrap().success());
    patient.is("filesystem", "failed", &["reading only"]);
    patient.is("directory", "failed", &["can't be made"]);
    let few = SmallDisk::mount("16m,nr_inodes=50");
    let patient = Patient::at(&few.dir.join("data"));
    patient.is("disk", "failed", &["of 50 inodes are free"]);
}

#[test]
fn keys_that_others_read_or_the_server_can_not_are_found() {
    let patient = Patient::used();
    let key = patient.dir.join("provenance.key");
    fs::write(&key, "").unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    for (name, word) in [
        ("admin.key", "make another admin key"),
        ("seal.key", "rotate-key"),
        ("provenance.key", "delete it"),
        ("danube.db", "chmod 600"),
    ] {
        let path = patient.dir.join(name);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        patient.is("keys", "failed", &[name, "mode 644", word]);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        patient.is("keys", "ok", &[name]);
    }
    // Settings without a secret are nobody's secret.
    let settings = patient.dir.join("danube.toml");
    fs::write(&settings, "[queue]\njobs_at_once = 2\n").unwrap();
    fs::set_permissions(&settings, Permissions::from_mode(0o644)).unwrap();
    patient.is("keys", "ok", &[]);
    let secret = "[observability]\notel_endpoint = \"http://me:hunter2hunter2@127.0.0.1:1\"\n";
    fs::write(&settings, secret).unwrap();
    patient.is("keys", "failed", &["danube.toml"]);
    fs::remove_file(&settings).unwrap();
    if root_or_skip("giving a key to somebody else") {
        std::os::unix::fs::chown(patient.dir.join("seal.key"), Some(1234), None).unwrap();
        patient.is(
            "keys",
            "failed",
            &["seal.key belongs to user 1234", "chown 0"],
        );
    }
}

#[test]
fn a_database_that_would_not_open_is_found() {
    let patient = Patient::used();
    let (database, key) = (patient.dir.join("danube.db"), patient.dir.join("seal.key"));
    let own = fs::read(&key).unwrap();
    fs::write(&key, [7; 32]).unwrap();
    patient.is("database", "failed", &["isn't the key", "from a backup"]);
    fs::remove_file(&key).unwrap();
    patient.is("database", "failed", &["seal.key is missing"]);
    assert!(!key.exists(), "no new one was made");
    fs::write(&key, own).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    patient.is("database", "ok", &[]);

    let connection = Connection::open(&database).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    patient.is(
        "database",
        "failed",
        &["has schema 99", "version of danube"],
    );
    let bytes = fs::read(&database).unwrap();
    let mut torn = bytes.clone();
    for page in torn.chunks_mut(4096).skip(1) {
        page[..64].fill(0xa5);
    }
    fs::write(&database, torn).unwrap();
    let connection = Connection::open(&database).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    patient.is("database", "failed", &["is damaged", "danube restore"]);
}

#[test]
fn a_server_that_works_one_that_was_killed_and_one_that_is_not_ready_are_told_apart() {
    let patient = Patient::new();
    let mut master = Master::start_in(&patient.dir, &[]);
    patient.is("server", "ok", &["is ready"]);
    patient.is("database", "ok", &["schema"]);
    master.kill();
    patient.is("server", "failed", &["doesn't answer", "start it again"]);
    // What it left can be read all the same.
    patient.is("database", "ok", &["schema"]);
    if !root_or_skip("mounting a small disk") {
        return;
    }
    let disk = SmallDisk::mount("48m");
    let patient = Patient::at(&disk.dir.join("data"));
    let _master = Master::start_in(&patient.dir, &[]);
    disk.fill();
    until("readiness tells the truth", DEADLINE, || {
        (patient.said("server").0 == "failed").then_some(())
    });
    patient.is("server", "failed", &["isn't ready", "disk"]);
}

#[test]
fn an_address_that_is_taken_or_open_to_others_is_found() {
    let mut patient = Patient::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    patient.set("DANUBE_SERVER_LISTEN", &address);
    patient.is("address", "failed", &[&address, "can't be had"]);
    drop(other);
    patient.is("address", "ok", &["this machine alone"]);
    patient.set("DANUBE_SERVER_LISTEN", "0.0.0.0:0");
    patient.is("settings", "failed", &["insecure"]);
    patient.set("DANUBE_SERVER_INSECURE_HTTP", "true");
    patient.is("settings", "ok", &[]);
    patient.is("address", "degraded", &["in clear", "TLS"]);
}

#[test]
fn a_kernel_that_allows_no_walls_and_no_limits_is_found() {
    if !root_or_skip("taking rights away") {
        return;
    }
    let mut patient = Patient::new();
    patient.is("isolation", "ok", &["namespaces of their own"]);
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all \"$@\"";
    let words = [
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        script,
        "sh",
    ];
    patient.by(&words);
    patient.is(
        "isolation",
        "failed",
        &["Operation not permitted", "max_user_namespaces"],
    );
    patient.is("limits", "degraded", &["no cgroup bounds", "Delegate=yes"]);
    patient.set("DANUBE_STEPS_ALLOW_UNISOLATED", "true");
    patient.is("isolation", "degraded", &["allow_unisolated"]);
}

#[test]
fn few_open_files_are_found() {
    let mut patient = Patient::new();
    for (limit, status) in [("512", "failed"), ("2048", "degraded")] {
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        patient.by(&["sh", "-c", &script, "sh"]);
        patient.is("open files", status, &[limit, "LimitNOFILE"]);
    }
}

#[test]
fn a_clock_behind_what_was_written_is_found() {
    let patient = Patient::used();
    assert_ne!(patient.said("clock").0, "failed");
    let touched = Command::new("touch")
        .args(["-d", "2 days"])
        .arg(patient.dir.join("danube.db"))
        .status();
    assert!(touched.unwrap().success());
    patient.is("clock", "failed", &["danube.db", "in the future", "NTP"]);
}

/// A directory with an `ansible-playbook` that says it is of this version.
fn with_ansible(version: &str) -> TempDir {
    let own = tempfile::tempdir().unwrap();
    let program = own.path().join("ansible-playbook");
    let text = format!("#!/bin/sh\necho 'ansible-playbook [core {version}]'\n");
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    own
}

#[test]
fn programs_that_are_missing_or_too_old_are_found() {
    let mut patient = Patient::new();
    let empty = tempfile::tempdir().unwrap();
    let nowhere = empty.path().to_str().unwrap();
    patient.set("DANUBE_STEPS_PATH", nowhere);
    patient.is("ansible", "failed", &["install ansible-core"]);
    patient.is("git", "ok", &["git version"]);
    patient.is("ssh", "ok", &["OpenSSH"]);
    let old = with_ansible("2.9.1");
    patient.set(
        "DANUBE_STEPS_PATH",
        &format!("{}:/usr/bin:/bin", old.path().display()),
    );
    patient.is("ansible", "failed", &["2.9 is too old"]);
    // The server's own programs are those of its own path.
    patient.set("PATH", nowhere);
    patient.is("git", "failed", &["git can't be run", "install git"]);
    patient.is("ssh", "failed", &["ssh can't be run", "OpenSSH client"]);
}

#[test]
fn hosts_that_can_not_be_read_are_found() {
    let patient = Patient::new();
    let known = patient.own.path().join(".ssh/known_hosts");
    fs::create_dir_all(known.parent().unwrap()).unwrap();
    fs::write(&known, "host ssh-ed25519 AAAA\n").unwrap();
    patient.is("ssh", "ok", &["known_hosts"]);
    fs::remove_file(&known).unwrap();
    fs::create_dir(&known).unwrap();
    patient.is("ssh", "failed", &["known_hosts can't be read"]);
}

#[test]
fn a_redis_that_answers_and_one_that_does_not_are_told_apart() {
    let mut redis = Redis::start();
    let mut patient = Patient::new();
    patient.set("DANUBE_QUEUE_URL", &redis.url());
    patient.is("redis", "ok", &["answers"]);
    redis.kill();
    patient.is("redis", "failed", &["start Redis"]);
}

#[test]
fn a_registry_that_answers_and_one_that_does_not_are_told_apart() {
    let mut registry = DockerRegistry::start();
    let mut patient = Patient::new();
    patient.set("DANUBE_REGISTRY_URL", &registry.url());
    patient.is("registry", "ok", &["answers"]);
    registry.kill();
    patient.is("registry", "failed", &["registry.url"]);
}

#[test]
fn a_collector_that_answers_refuses_or_is_away_is_told_apart() {
    for (collector, protocol) in [
        (Collector::grpc(), "grpc"),
        (Collector::http(), "http/protobuf"),
    ] {
        let mut patient = Patient::new();
        let url = format!("http://{}", collector.address());
        patient.set("DANUBE_OBSERVABILITY_OTEL_ENDPOINT", &url);
        patient.set("DANUBE_OBSERVABILITY_OTEL_PROTOCOL", protocol);
        patient.is("collector", "ok", &[&url, "answers"]);
        collector.answer(collector::Answer::Invalid);
        patient.is("collector", "failed", &[&url]);
        drop(collector);
        patient.is("collector", "failed", &[&url, "otel_endpoint"]);
    }
}

#[test]
fn an_alertmanager_that_answers_and_what_is_none_are_told_apart() {
    let alertmanager = Responder::new(vec![
        Answer::json(200, &json!({"cluster": {}})),
        Answer::json(404, &json!({})),
    ]);
    let mut patient = Patient::new();
    patient.set("DANUBE_OBSERVABILITY_ALERTMANAGER_URL", &alertmanager.url);
    patient.is("alertmanager", "ok", &["answers"]);
    patient.is("alertmanager", "failed", &["status 404"]);
    let asked = alertmanager.finish();
    assert!(asked[0].line.starts_with("GET /api/v2/status"), "{asked:?}");
    patient.is("alertmanager", "failed", &["alertmanager_url"]);
}
