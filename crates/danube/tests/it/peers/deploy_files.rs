//! The exported files, read by the programs that they are for.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::program::{Finished, find, finish};
use super::prometheus::{Prometheus, promtool};
use crate::master::{DANUBE, Master};

/// The files as the program itself writes them, with a key beside the scrape
/// configuration.
#[track_caller]
fn exported() -> TempDir {
    let dir = tempfile::tempdir().expect("make a directory");
    let mut command = Command::new(DANUBE);
    command
        .args(["signals", "export", "--workers-expected", "1"])
        .arg(dir.path());
    went_well(&finish(command, b""));
    let key = dir.path().join("deploy/prometheus/danube.key");
    fs::write(key, "a key").expect("write a key");
    dir
}

#[track_caller]
fn went_well(finished: &Finished) {
    let Finished {
        status,
        stdout,
        stderr,
    } = finished;
    assert!(status.success(), "{stdout}\n{stderr}");
}

#[test]
fn promtool_reads_the_scrape_configuration_and_the_rules() {
    let dir = exported();
    let files = dir.path().join("deploy/prometheus");
    went_well(&promtool(&["check", "config", "scrape.yml"], &files, b""));
    let rules = promtool(&["check", "rules", "rules.yml"], &files, b"");
    went_well(&rules);
    let count = danube_signals::alerts(danube_signals::Expected::default()).len();
    assert!(
        rules.stdout.contains(&format!("{count} rules found")),
        "{}",
        rules.stdout
    );
}

#[test]
fn each_alert_fires_on_its_fault_and_on_nothing_else() {
    let dir = exported();
    let files = dir.path().join("deploy/prometheus");
    went_well(&promtool(&["test", "rules", "rules_test.yml"], &files, b""));
}

#[test]
fn a_wrong_threshold_does_not_pass_the_tests_of_the_rules() {
    let dir = exported();
    let files = dir.path().join("deploy/prometheus");
    change(
        &files,
        "rules.yml",
        "(queue_name) (ansible_api_queue_length) > 100",
        "(queue_name) (ansible_api_queue_length) > 101",
    );
    let tested = promtool(&["test", "rules", "rules_test.yml"], &files, b"");
    assert!(!tested.status.success());
    let said = format!("{}{}", tested.stdout, tested.stderr);
    assert!(said.contains("DanubePlaybookQueueLong"), "{said}");
}

#[test]
fn amtool_reads_the_configuration_of_alertmanager() {
    let dir = exported();
    let mut command = Command::new(find(&["amtool"]));
    command
        .args(["check-config", "alertmanager.yml"])
        .current_dir(dir.path().join("deploy/alertmanager"));
    let checked = finish(command, b"");
    went_well(&checked);
    assert!(checked.stdout.contains("3 receivers"), "{}", checked.stdout);
}

/// Where amtool says that an alert with these labels goes.
#[track_caller]
fn receivers(dir: &TempDir, labels: &[&str]) -> String {
    let mut command = Command::new(find(&["amtool"]));
    command
        .args(["config", "routes", "test", "--config.file=alertmanager.yml"])
        .args(labels)
        .current_dir(dir.path().join("deploy/alertmanager"));
    let tested = finish(command, b"");
    went_well(&tested);
    tested.stdout.trim().to_owned()
}

#[test]
fn critical_alerts_go_to_pagerduty_warnings_to_slack_and_all_to_email() {
    let dir = exported();
    assert_eq!(receivers(&dir, &["severity=critical"]), "pagerduty,email");
    assert_eq!(receivers(&dir, &["severity=warning"]), "slack,email");
    assert_eq!(receivers(&dir, &["alertname=Other"]), "email");
}

#[test]
fn prometheus_runs_with_the_exported_files_and_finds_the_master_well() {
    let master = Master::start();
    let dir = exported();
    let files = dir.path().join("deploy/prometheus");
    let host = master.address.trim_start_matches("http://").to_owned();
    change(&files, "scrape.yml", "localhost:8080", &host);
    // A test would wait for 15 s, and nobody is at the other address.
    change(&files, "scrape.yml", ": 15s", ": 1s");
    change(&files, "scrape.yml", "\"localhost:9093\"", "");
    let read = |name: &str| fs::read_to_string(files.join(name)).expect("an exported file");
    let rules = read("rules.yml");
    let beside = [
        ("rules.yml", rules.as_str()),
        ("danube.key", master.key.as_str()),
    ];
    let prometheus = Prometheus::with_yaml(&read("scrape.yml"), &beside);
    prometheus.scraped();

    let all = danube_signals::alerts(danube_signals::Expected::default());
    let states =
        crate::processes::until("all rules are evaluated", crate::master::DEADLINE, || {
            let groups = prometheus.get("/api/v1/rules", &[])["groups"].clone();
            let groups = groups.as_array()?.clone();
            let rules: Vec<_> = groups
                .iter()
                .flat_map(|it| it["rules"].as_array().cloned().unwrap_or_default())
                .collect();
            let done = rules.iter().all(|it| it["health"] == "ok");
            (done && rules.len() == all.len()).then_some(rules)
        });
    for rule in states {
        // The worker inside the master and its checks may still be on their way.
        assert_ne!(rule["state"], "firing", "{rule}");
    }
}

/// Replaces something in a file that has to be there.
#[track_caller]
fn change(files: &Path, name: &str, from: &str, to: &str) {
    let path = files.join(name);
    let text = fs::read_to_string(&path).expect("an exported file");
    assert!(text.contains(from), "{from} in {text}");
    fs::write(&path, text.replace(from, to)).expect("write it changed");
}
