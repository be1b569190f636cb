//! Backups: taken from a master that serves, checked, and restored when all is lost.

mod archive;
mod damaged;
mod refused;
mod stopped;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::elsewhere::{Elsewhere, Wire, token};
use crate::faults::{Load, check_database, setting};
use crate::master::{DANUBE, DEADLINE, Master, id, one_step};
use crate::processes::{HELD, all_gone, release, until};

/// Times that a loaded master is backed up and lost.
const ROUNDS_DEFAULT: u64 = 3;

/// `danube backup` of this master, and what it says.
fn backup(master: &Master, file: &Path, arguments: &[&str]) -> Output {
    let file = file.to_str().unwrap();
    let words = [&["backup", file, "--output", "json"], arguments].concat();
    master.danube(&words)
}

/// The same; panics unless it worked.
#[track_caller]
fn taken(master: &Master, file: &Path, arguments: &[&str]) -> Value {
    let output = backup(master, file, arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// `danube restore` with these words.
fn restore(words: &[&str]) -> Output {
    Command::new(DANUBE)
        .arg("restore")
        .args(words)
        .args(["--output", "json"])
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Restores a file into a directory; panics unless it worked.
#[track_caller]
fn restored(file: &Path, dir: &Path) -> Value {
    let output = restore(&[file.to_str().unwrap(), "--data-dir", dir.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The exit code of `--verify`, and what it says.
fn verified(file: &Path) -> (i32, Value) {
    let output = restore(&[file.to_str().unwrap(), "--verify"]);
    let said = serde_json::from_slice(&output.stdout);
    let said = said.unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code().unwrap(), said)
}

/// What was said of one check: status and detail.
#[track_caller]
fn check(said: &Value, name: &str) -> (String, String) {
    let checks = said["checks"].as_array().unwrap();
    let one = checks.iter().find(|it| it["check"] == name).unwrap();
    let text = |field: &str| one[field].as_str().unwrap().to_owned();
    (text("status"), text("detail"))
}

/// Events of a backup that is taken and of one that nobody takes.
pub(crate) fn provoked() -> Option<Vec<String>> {
    let master = Master::start();
    let own = tempfile::tempdir().unwrap();
    taken(&master, &own.path().join("b.tar"), &[]);
    let (_answer, _, _) = held_open(&master);
    drop(_answer);
    master.event(|it| it["event"] == "backup_failed");
    Some(master.log_lines())
}

#[test]
fn a_loaded_master_that_is_lost_comes_back_as_it_was_when_the_backup_was_taken() {
    let rounds = setting("DANUBE_FAULT_ROUNDS").unwrap_or(ROUNDS_DEFAULT);
    for round in 1..=rounds.min(20) {
        let own = tempfile::tempdir().unwrap();
        let (dir, file) = (own.path().join("data"), own.path().join("b.tar"));
        let mut master = Master::start_in(&dir, &[]);
        let credential = json!({"name": "deploy", "kind": "password", "password": "canary-3f"});
        let made = master.call("POST", "/api/v1/credentials", Some(&credential));
        assert_eq!(made.status, 201, "{}", made.text());
        let mut load = Load::start(round);
        for _ in 0..3 {
            load.serve(&master, false);
            load.wait_for_answer();
        }
        let before = load.history().so_far();
        assert!(!before.ids().is_empty());
        let mut taking = Command::new(DANUBE)
            .args(["backup", file.to_str().unwrap()])
            .env("DANUBE_SERVER", &master.address)
            .env("DANUBE_API_KEY", &master.key)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Whatever is submitted meanwhile is accepted, or a submitter panics.
        let ended = loop {
            load.serve(&master, false);
            load.wait_for_answer();
            if let Some(ended) = taking.try_wait().unwrap() {
                break ended;
            }
        };
        assert!(ended.success(), "{ended}");
        load.serve(&master, true);
        load.join();
        master.kill();
        let all = load.history().ids();
        all.iter().for_each(|it| all_gone(it));
        fs::remove_dir_all(&dir).unwrap();

        let (code, said) = verified(&file);
        assert_eq!(code, 0, "{said}");
        restored(&file, &dir);
        check_database(&dir);
        let master = Master::start_in(&dir, &[]);
        before.check_each_ended(&master);
        check_goes_on(&master, &said);
    }
}

/// What was restored can be used, and every secret in it can be opened.
fn check_goes_on(master: &Master, said: &Value) {
    let jobs = master.get("/api/v1/jobs?limit=1000").json();
    let jobs = jobs["jobs"].as_array().unwrap().len();
    assert_eq!(said["manifest"]["jobs"], jobs, "{said}");
    let asked = master.call("POST", "/api/v1/admin/seal-key/rotate", None);
    assert_eq!(asked.status, 202, "{}", asked.text());
    let done = until("all is sealed anew", DEADLINE, || {
        let state = master.get("/api/v1/admin/seal-key").json();
        (state["state"] == "idle").then_some(state)
    });
    assert_eq!(done["rows_unreadable"], 0, "{done}");
    assert!(
        done["rows_resealed"].as_u64().unwrap() > jobs as u64,
        "{done}"
    );
    let job = master.ended(&master.run("echo it goes on"));
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(job["reason"], Value::Null, "{job}");
    assert_eq!(master.get("/health/ready").status, 200);
}

/// A log that no pipe between server and client holds.
const LONG: &str = "head -c 24000000 /dev/zero | tr '\\0' x | fold -w 99; echo";

/// A backup of which the beginning was read and the rest is still to come; the master
/// has a job whose log is long. Also that job's id, and what was read.
fn held_open(master: &Master) -> (impl Read + use<>, String, Vec<u8>) {
    let long = master.run(LONG);
    assert_eq!(master.ended(&long)["status"], "success");
    let key = format!("Bearer {}", master.key);
    let path = "/api/v1/admin/backup";
    let answer = master.open("GET", path, &[("authorization", &key)], b"");
    assert_eq!(answer.status().as_u16(), 200);
    let mut body = answer
        .into_body()
        .into_with_config()
        .limit(1 << 30)
        .reader();
    let mut begin = vec![0; 512];
    body.read_exact(&mut begin).unwrap();
    (body, long, begin)
}

#[test]
fn while_a_client_takes_its_time_work_goes_on_and_no_second_backup_begins() {
    let master = Master::start();
    let (mut body, long, mut archive) = held_open(&master);
    for _ in 0..20 {
        assert_eq!(master.ended(&master.run("echo on"))["status"], "success");
    }
    let second = master.get("/api/v1/admin/backup");
    assert_eq!(second.status, 409, "{}", second.text());
    assert_eq!(second.json()["code"], "wrong_state");
    body.read_to_end(&mut archive).unwrap();
    // It shows the moment of its beginning: none of these twenty.
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("b.tar");
    fs::write(&file, archive).unwrap();
    let (code, said) = verified(&file);
    assert_eq!((code, &said["manifest"]["jobs"]), (0, &json!(1)), "{said}");
    let told = master.event(|it| it["event"] == "backup_completed");
    assert_eq!((&told["user"], &told["jobs"]), (&json!("admin"), &json!(1)));
    // And the place is free again, also after somebody who left.
    let (body, _, _) = held_open(&master);
    drop(body);
    let failed = master.event(|it| it["event"] == "backup_failed");
    assert_eq!(failed["level"], "warning", "{failed}");
    until("the place is free", DEADLINE, || {
        let again = backup(&master, &own.path().join("again.tar"), &[]);
        again.status.success().then_some(())
    });
    // The long log came whole.
    let dir = own.path().join("data");
    restored(&file, &dir);
    let log = fs::read(dir.join(format!("logs/{long}.log"))).unwrap();
    assert!(log == master.log(&long), "byte for byte");
    assert!(!master.dir.join("danube.db.copy").exists());
}

#[test]
fn a_running_job_is_restored_with_the_log_that_it_had_and_taken_back() {
    let own = tempfile::tempdir().unwrap();
    let (dir, file) = (own.path().join("data"), own.path().join("b.tar"));
    let mut master = Master::start_in(&dir, &[]);
    let held = master.run(HELD);
    master.until_log(&held, "begin\n");
    let said = taken(&master, &file, &[]);
    assert_eq!(said["manifest"]["live_jobs"], 1, "{said}");
    release(&held);
    assert_eq!(master.ended(&held)["status"], "success");
    master.kill();
    fs::remove_dir_all(&dir).unwrap();
    restored(&file, &dir);
    let master = Master::start_in(&dir, &[]);
    master.until_log(&held, "begin\nbegin\n");
    release(&held);
    let job = master.ended(&held);
    assert_eq!(
        (&job["status"], &job["attempt"], &job["log_complete"]),
        (&json!("success"), &json!(2), &json!(false)),
        "{job}"
    );
    assert_eq!(master.log(&held), b"begin\nbegin\nend\n");
    let reason = job["reason"].as_str().unwrap();
    assert!(reason.contains("worker lost once"), "{reason}");
}

#[test]
fn a_worker_that_began_after_the_backup_has_no_say_in_what_was_restored() {
    let own = tempfile::tempdir().unwrap();
    let (dir, file) = (own.path().join("data"), own.path().join("b.tar"));
    let mut master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    let token = token(&master, "far");
    let waits = master.run(HELD);
    let mut once = one_step("echo once");
    once["retry_on_lost"] = json!(false);
    let once = id(&master.submit(&once));
    taken(&master, &file, &[]);
    // Now it is claimed elsewhere, with the fence that the next claim would have given.
    let wire = Wire::to(&master);
    let _worker = Elsewhere::with_token(&wire.address, &token, &["--jobs", "2"]);
    master.until_log(&waits, "begin\n");
    wire.cut();
    master.kill();
    fs::remove_dir_all(&dir).unwrap();
    let said = restored(&file, &dir);
    assert_eq!(
        (&said["jobs_that_go_on"], &said["jobs_given_up"]),
        (&json!(1), &json!(1)),
        "{said}"
    );
    // The worker says that it has it; the restored master gives it to the same worker,
    // as an attempt of its own, and lets the other one be killed.
    let old = shells(&waits);
    assert_eq!(old.len(), 1, "{old:?}");
    let master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    wire.lead_to(&master);
    master.until_log(&waits, "begin\n");
    until(
        "only the new attempt's processes are left",
        DEADLINE,
        || {
            let now = shells(&waits);
            (now.len() == 1 && now != old).then_some(())
        },
    );
    release(&waits);
    let job = master.ended(&waits);
    assert_eq!(
        (&job["status"], &job["attempt"]),
        (&json!("success"), &json!(1)),
        "{job}"
    );
    let reason = job["reason"].as_str().unwrap();
    assert!(reason.contains("it may have run since"), "{reason}");
    assert_eq!(master.log(&waits), b"begin\nend\n");
    // What may run once at most isn't run again.
    let job = master.job(&once);
    assert_eq!(job["status"], "failure", "{job}");
    let reason = job["reason"].as_str().unwrap();
    assert!(
        reason.contains("restored from the backup of") && reason.contains("at most once"),
        "{reason}"
    );
}

/// The shells that run the script of a job.
fn shells(id: &str) -> Vec<u32> {
    let mut all = crate::processes::of_job(id);
    all.retain(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.starts_with(b"/bin/sh\0")
    });
    all
}

#[test]
fn pipelines_settings_and_logs_that_are_gone_come_along_as_they_are() {
    let own = tempfile::tempdir().unwrap();
    let (dir, file) = (own.path().join("data"), own.path().join("b.tar"));
    fs::create_dir_all(dir.join("pipelines")).unwrap();
    let pipeline = "apiVersion: danube.dev/v1\nkind: Pipeline\nmetadata:\n  name: built\nspec:\n  steps:\n    - name: say\n      run: echo from a file\n";
    fs::write(dir.join("pipelines/built.yaml"), pipeline).unwrap();
    fs::write(dir.join("pipelines/notes.txt"), "not ours").unwrap();
    let long = format!("pipelines/{}.yaml", "x".repeat(200));
    fs::write(dir.join(&long), pipeline.replace("built", "long")).unwrap();
    fs::write(dir.join("danube.toml"), "[queue]\njobs_at_once = 3\n").unwrap();
    let mut master = Master::start_in(&dir, &[]);
    let kept = master.ended(&id(&master.submit(&json!({"pipeline": "built"}))));
    let gone = master.run("echo somebody deletes this");
    master.ended(&gone);
    for end in ["log", "idx"] {
        fs::remove_file(dir.join(format!("logs/{gone}.{end}"))).unwrap();
    }
    let said = taken(&master, &file, &[]);
    let left_out = said["manifest"]["left_out"].to_string();
    assert!(
        left_out.contains("notes.txt") && left_out.contains("xxx"),
        "{left_out}"
    );
    assert_eq!(said["manifest"]["logs_gone"], 1, "{said}");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    master.kill();
    fs::remove_dir_all(&dir).unwrap();
    restored(&file, &dir);
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    for name in ["seal.key", "admin.key", "danube.db", "danube.toml"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    assert_eq!(mode("logs"), 0o700);
    // The admin's key is the same, and the pipeline is there.
    let key = master.key.clone();
    let master = Master::start_in(&dir, &[]);
    assert_eq!(master.key, key);
    assert_eq!(master.job(&id(&kept)), kept);
    let again = master.ended(&id(&master.submit(&json!({"pipeline": "built"}))));
    assert_eq!(again["status"], "success");
    let answer = master.get(&format!("/api/v1/jobs/{gone}/logs"));
    assert_eq!(answer.status, 410, "{}", answer.text());
    let text = fs::read_to_string(dir.join("danube.toml")).unwrap();
    assert!(text.contains("jobs_at_once = 3"));
}

/// A directory with a backup of a master with some jobs, which has ended.
fn some_backup() -> (TempDir, std::path::PathBuf) {
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("b.tar");
    let master = Master::start();
    for _ in 0..3 {
        master.ended(&master.run("echo a line that is there"));
    }
    taken(&master, &file, &[]);
    (own, file)
}

#[test]
fn a_client_that_takes_nothing_loses_its_place() {
    let master = Master::with(&["--client-silence", "1"]);
    let (_body, ..) = held_open(&master);
    let failed = master.event(|it| it["event"] == "backup_failed");
    assert_eq!(failed["level"], "warning", "{failed}");
    let own = tempfile::tempdir().unwrap();
    until("the place is free", DEADLINE, || {
        let again = backup(&master, &own.path().join("again.tar"), &[]);
        again.status.success().then_some(())
    });
}
