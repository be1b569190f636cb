//! A job's whole way, over real HTTP with real processes.

use serde_json::json;

use crate::master::{Master, id};

#[test]
fn a_job_goes_from_submit_to_finished_log() {
    let master = Master::start();
    let job = master.submit(&json!({
        "spec": {"name": "hello", "steps": [
            {"name": "say", "run": "echo \"hi $A\"; echo oops >&2", "env": {"A": "there"}},
            {"name": "fail", "run": "exit 3", "continue_on_error": true},
            {"name": "end", "run": "echo end"},
        ]},
    }));
    assert_eq!(job["status"], "pending");
    assert_eq!(job["attempt"], 0);
    let job = master.ended(&id(&job));
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(job["exit_code"], 0);
    assert_eq!(job["attempt"], 1);
    let steps: Vec<(&str, &str, i64)> = job["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it["name"].as_str().unwrap(),
                it["status"].as_str().unwrap(),
                it["exit_code"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        steps,
        [
            ("say", "success", 0),
            ("fail", "failure", 3),
            ("end", "success", 0)
        ]
    );
    let log = String::from_utf8(master.log(&id(&job))).unwrap();
    let mut lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.pop(), Some("end"));
    lines.sort_unstable();
    assert_eq!(lines, ["hi there", "oops"]);
    assert_eq!(job["log_bytes"], log.len());
    assert_eq!(job["log_complete"], true);
}

#[test]
fn a_pipeline_can_not_make_its_clone_run_a_command() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, evil) = (dir.path().join("repository"), dir.path().join("bin"));
    std::fs::create_dir(&evil).unwrap();
    // A `git` and a shell library that leave a mark wherever they run.
    let mark = dir.path().join("mark");
    std::fs::write(
        evil.join("git"),
        format!("#!/bin/sh\ntouch {}\n", mark.display()),
    )
    .unwrap();
    std::fs::set_permissions(
        evil.join("git"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let git = |arguments: &[&str]| {
        let done = std::process::Command::new("git")
            .arg("-C")
            .arg(&repository)
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    std::fs::create_dir(&repository).unwrap();
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&[
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@danube.invalid",
        "commit",
        "--quiet",
        "--allow-empty",
        "--message=first",
    ]);

    let master = Master::start();
    let command = format!("touch {}; false", mark.display());
    let job = master.submit(&json!({"spec": {
        "name": "hostile",
        "repository": format!("file://{}", repository.display()),
        "env": {
            "PATH": format!("{}:/usr/bin:/bin", evil.display()),
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsmonitor", "GIT_CONFIG_VALUE_0": command,
            "GIT_SSH_COMMAND": command, "GIT_EXEC_PATH": evil.display().to_string(), "ENV": evil.join("git").display().to_string(),
        },
        "steps": [{"name": "own", "run": "echo \"$GIT_CONFIG_KEY_0\""}],
    }}));
    let job = master.ended(&id(&job));
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(job["steps"][0]["name"], "clone");
    let log = String::from_utf8(master.log(job["id"].as_str().unwrap())).unwrap();
    assert!(
        log.contains("first") && log.ends_with("core.fsmonitor\n"),
        "{log}"
    );
    assert!(!mark.exists(), "the clone ran what the pipeline named");
}
