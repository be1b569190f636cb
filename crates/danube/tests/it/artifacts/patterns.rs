//! Files that a step names in `artifacts`: kept once it has ended, by whatever worker ran it,
//! and nothing else of the machine.

use std::process::Command;

use serde_json::{Value, json};

use super::{list, path, sha256};
use crate::elsewhere::Elsewhere;
use crate::master::{DANUBE, Master, id};

/// A job with these steps.
fn order(steps: &Value) -> Value {
    json!({"spec": {"name": "p", "shell": "bash", "steps": steps}})
}

fn log(master: &Master, job: &str) -> String {
    String::from_utf8(master.log(job)).unwrap()
}

fn names(master: &Master, job: &str) -> Vec<String> {
    let all = list(master, job);
    let name = |it: &Value| it["name"].as_str().unwrap().to_owned();
    all.iter().map(name).collect()
}

/// Two steps, of which the first fails and may: what is kept of them.
fn kept_by_patterns(master: &Master) {
    let script = "mkdir -p target/deep reports/a .cache
        echo deb > target/app.deb; echo no > target/deep/no.deb
        head -c 3000000 /dev/zero > reports/large.bin; echo x > 'reports/a/ä b.xml'; : > reports/.empty
        ln -s /etc/passwd reports/link; ln -s /etc reports/etc; mkfifo reports/pipe
        exit 3";
    let steps = json!([
        {"name": "build", "run": script, "continue_on_error": true,
            "artifacts": ["target/*.deb", "reports/**", "*.none", "reports/etc/passwd"]},
        {"name": "again", "run": "echo two > two.txt", "artifacts": ["two.txt"]},
    ]);
    let id = id(&master.submit(&order(&steps)));
    let job = master.ended(&id);
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(job["steps"][0]["status"], "failure", "{job}");
    let log = log(master, &id);
    let expected = [
        "reports/.empty",
        "reports/a/ä b.xml",
        "reports/large.bin",
        "target/app.deb",
        "two.txt",
    ];
    assert_eq!(names(master, &id), expected, "{log}");
    let all = list(master, &id);
    assert_eq!(all[2]["sha256"], sha256(&vec![0; 3_000_000]));
    assert_eq!(
        (&all[2]["step"], &all[4]["step"]),
        (&json!("build"), &json!("again"))
    );
    assert_eq!(master.get(&path(&id, "two.txt")).body, b"two\n");
    for line in [
        "danube: no file fits the artifacts *.none\n",
        "danube: no file fits the artifacts reports/etc/passwd\n",
        "danube: reports/link isn't kept as an artifact: it is a link\n",
        "danube: reports/etc isn't kept as an artifact: it is a link\n",
        "danube: reports/pipe isn't kept as an artifact: it is no regular file\n",
        &format!(
            "danube: kept artifact two.txt (4 bytes, sha256 {})\n",
            sha256(b"two\n")
        ),
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    // In the section of its step.
    let end = job["steps"][0]["log_end"].as_u64().unwrap();
    let place = log.find("kept artifact target/app.deb").unwrap() as u64;
    assert!(place < end, "{log}");
}

#[test]
fn what_a_step_names_is_kept_also_when_it_fails() {
    kept_by_patterns(&Master::start());
}

#[test]
fn a_worker_elsewhere_keeps_it_with_the_master() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let _worker = Elsewhere::start(&master, "far", &[]);
    kept_by_patterns(&master);
}

/// What can't be kept, with `--artifact-max-bytes 1000`.
fn kept_not(master: &Master) {
    let large = json!({"name": "large", "run": "echo a > a; head -c 1001 /dev/zero > b", "artifacts": ["?"]});
    let id1 = id(&master.submit(&order(&json!([large]))));
    let job = master.ended(&id1);
    assert_eq!(job["status"], "failure", "{job}");
    let reason = job["reason"].as_str().unwrap();
    for part in [
        "step `large` went well",
        "keep artifact b",
        "1000 bytes (artifacts.file_max_bytes)",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(job["steps"][0]["status"], "failure", "{job}");
    assert!(log(master, &id1).contains("danube: keep artifact b: "));
    assert_eq!(names(master, &id1), ["a"]);
    // A job that failed before fails for that.
    let mut failed = large.clone();
    failed["run"] = json!("head -c 1001 /dev/zero > b; exit 4");
    let job = master.ended(&id(&master.submit(&order(&json!([failed])))));
    assert_eq!(
        (&job["status"], &job["exit_code"]),
        (&json!("failure"), &json!(4)),
        "{job}"
    );
    // One that may fail is a failed step, and the job goes on.
    let mut may = large;
    may["continue_on_error"] = json!(true);
    let job = master.ended(&id(&master.submit(&order(&json!([may])))));
    assert_eq!(
        (&job["status"], &job["steps"][0]["status"]),
        (&json!("success"), &json!("failure"))
    );
}

#[test]
fn a_step_whose_artifacts_cannot_be_kept_fails() {
    let limit = ["--artifact-max-bytes", "1000"];
    kept_not(&Master::with(&limit));
    let master = Master::with(&[&limit[..], &["--jobs-at-once", "0"]].concat());
    let _worker = Elsewhere::start(&master, "far", &[]);
    kept_not(&master);
}

#[test]
fn a_source_that_a_step_replaced_is_not_followed() {
    let master = Master::start();
    let script = "cd ..; mv source elsewhere; ln -s /etc source";
    let steps = json!([{"name": "evil", "run": script, "artifacts": ["passwd", "**"]}]);
    let id = id(&master.submit(&order(&steps)));
    let job = master.ended(&id);
    assert_eq!(job["status"], "failure", "{job}");
    assert!(names(&master, &id).is_empty());
    let event = master.event(|it| it["event"] == "job_failed" && it["job_id"] == id.as_str());
    assert_eq!(event["error_type"], "artifact_failed", "{event}");
}

#[test]
fn a_pattern_that_leads_out_is_refused_with_its_place() {
    let master = Master::start();
    let steps =
        json!([{"name": "s", "run": "true", "artifacts": ["ok", "../x", "/etc/*", "a/{b"]}]);
    let answer = master.call("POST", "/api/v1/jobs", Some(&order(&steps)));
    assert_eq!(answer.status, 422);
    let text = answer.text();
    for at in 1..4 {
        assert!(
            text.contains(&format!("/spec/steps/0/artifacts/{at}")),
            "{text}"
        );
    }
    assert!(!text.contains("artifacts/0"), "{text}");
}

#[test]
fn without_a_server_files_stay_and_the_log_says_so() {
    let own = tempfile::tempdir().unwrap();
    let file = "apiVersion: danube.dev/v1\nkind: Pipeline\nmetadata: {name: p}\nspec:\n  steps:\n    - {name: s, run: 'echo x > a.txt', artifacts: ['*.txt']}\n";
    std::fs::write(own.path().join("p.yaml"), file).unwrap();
    let said = Command::new(DANUBE)
        .args(["run", "p.yaml"])
        .current_dir(own.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(
        text.contains("1 file fits the step's artifacts and stays where it was written"),
        "{text}"
    );
    assert_eq!(std::fs::read(own.path().join("a.txt")).unwrap(), b"x\n");
}
