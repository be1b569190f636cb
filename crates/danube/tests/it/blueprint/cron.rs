//! Pipelines that are started in their time: what was missed while the server was down is
//! made up for once, whatever is killed when.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::served::{Served, check, in_force, pipeline};
use crate::master::{DEADLINE, Master};
use crate::processes::until;

/// A schedule that is due once a year, at this time from now.
fn yearly(from_now: &str) -> String {
    let asked = Command::new("date")
        .args(["-u", "-d", from_now, "+%-M %-H %-d %-m *"])
        .output()
        .unwrap();
    assert!(asked.status.success(), "{asked:?}");
    String::from_utf8(asked.stdout).unwrap().trim().to_owned()
}

/// A pipeline that only the clock starts.
fn timed(name: &str, from_now: &str) -> String {
    let schedule = yearly(from_now);
    pipeline(
        name,
        &format!("triggers: {{manual: false, cron: [{{schedule: {schedule}}}]}}, "),
    )
}

/// The server was down for this long, to its triggers: they were looked at up to then. How
/// many there are.
fn was_down(dir: &Path, hours: u64) -> usize {
    let database = Connection::open(dir.join("danube.db")).unwrap();
    let at = millis_ago(Duration::from_secs(hours * 3_600));
    let changed = database.execute("UPDATE cron_times SET at = ?1", [at]);
    changed.unwrap()
}

fn millis_ago(time: Duration) -> i64 {
    let at = SystemTime::now() - time;
    i64::try_from(at.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Waits until so many triggers are known, the latest of them looked at up to `at`.
fn known(dir: &Path, triggers: i64, at: i64) {
    until("the triggers are known", DEADLINE, || {
        let database = Connection::open(dir.join("danube.db")).unwrap();
        let ask = "SELECT count(*), coalesce(max(at), 0) FROM cron_times";
        let found = database.query_row(ask, [], |row| Ok((row.get(0)?, row.get(1)?)));
        let (count, latest): (i64, i64) = found.unwrap();
        (count == triggers && latest >= at).then_some(())
    });
}

fn jobs(master: &Master) -> Vec<Value> {
    let list = master.get("/api/v1/jobs").json();
    list["jobs"].as_array().unwrap().clone()
}

#[test]
fn a_run_that_was_missed_is_made_up_for_once_over_any_number_of_kills() {
    let served = Served::new();
    served.write("pipelines/late.yaml", &timed("late", "-3 minutes"));
    served.write("pipelines/old.yaml", &timed("old", "-7 hours"));
    served.write("pipelines/ahead.yaml", &timed("ahead", "+30 days"));
    let commit = served.commit();
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let arguments = served.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut master = Master::start_in(&dir, &arguments);
    in_force(&master, &commit);
    // What is new counts from now on.
    known(&dir, 3, 0);
    assert_eq!(jobs(&master), [] as [Value; 0]);
    master.kill();
    drop(master);

    for round in 0..4 {
        // As if it had been killed before it could note that the job was made.
        assert_eq!(was_down(&dir, 10), 3);
        let mut master = Master::start_in(&dir, &arguments);
        let triggered = |it: &Value| it["event"] == "pipeline_triggered";
        if round == 0 {
            let told = master.event(triggered);
            assert_eq!(told["pipeline"], "late");
            assert_eq!(
                (&told["trigger_type"], &told["user"]),
                (&json!("cron"), &json!("cron"))
            );
        }
        known(&dir, 3, millis_ago(Duration::from_secs(600)));
        check(&master, "ok");
        let all = jobs(&master);
        assert_eq!(all.len(), 1, "{all:#?}");
        assert_eq!(all[0]["pipeline"], "late");
        assert_eq!(all[0]["trigger_type"], "cron");
        assert_eq!(all[0]["submitted_by"], "cron");
        master.kill();
    }
}

#[test]
fn a_blueprint_in_a_directory_has_its_times_too() {
    let served = Served::new();
    served.write("pipelines/late.yaml", &timed("late", "-3 minutes"));
    let own = tempfile::tempdir().unwrap();
    let (dir, lines) = (own.path().join("data"), own.path().join("lines"));
    std::fs::create_dir(&lines).unwrap();
    let declared = served.dir();
    let arguments = [
        "--blueprint-dir",
        declared.to_str().unwrap(),
        "--pipelines",
        lines.to_str().unwrap(),
    ];
    let mut master = Master::start_in(&dir, &arguments);
    known(&dir, 1, 0);
    master.kill();
    drop(master);
    was_down(&dir, 1);
    let mut master = Master::start_in(&dir, &arguments);
    let told = master.event(|it| it["event"] == "pipeline_triggered");
    assert_eq!(
        (&told["pipeline"], &told["user"]),
        (&json!("late"), &json!("cron"))
    );
    check(&master, "disabled");
    known(&dir, 1, millis_ago(Duration::from_secs(600)));
    master.kill();
    drop(master);
    // One that can't be started is told here as well.
    std::fs::write(lines.join("late.yaml"), pipeline("late", "")).unwrap();
    served.write("pipelines/late.yaml", &timed("late", "-2 minutes"));
    let mut master = Master::start_in(&dir, &arguments);
    known(&dir, 1, millis_ago(Duration::from_secs(60)));
    master.kill();
    drop(master);
    was_down(&dir, 1);
    let master = Master::start_in(&dir, &arguments);
    let message = check(&master, "degraded");
    assert!(message.contains("late"), "{message}");

    // A wrong one at SIGHUP is told, and changes nothing.
    served.write("users/alice.yaml", "kind: [");
    master.signal("HUP");
    let told = master.event(|it| it["event"] == "blueprint_sync_failed");
    assert!(
        told["error"].as_str().unwrap().contains("mistakes"),
        "{told}"
    );
}

#[test]
fn one_that_can_not_be_started_is_told_by_health() {
    let served = Served::new();
    served.write("pipelines/late.yaml", &timed("late", "-3 minutes"));
    served.commit();
    let own = tempfile::tempdir().unwrap();
    let (dir, lines) = (own.path().join("data"), own.path().join("lines"));
    std::fs::create_dir(&lines).unwrap();
    let url = served.url();
    let arguments = [
        "--blueprint-url",
        &url,
        "--pipelines",
        lines.to_str().unwrap(),
    ];
    let mut master = Master::start_in(&dir, &arguments);
    check(&master, "ok");
    known(&dir, 1, 0);
    master.kill();
    drop(master);
    // Another of the same name is in the directory now.
    std::fs::write(lines.join("late.yaml"), pipeline("late", "")).unwrap();
    was_down(&dir, 1);
    let master = Master::start_in(&dir, &arguments);
    let message = check(&master, "degraded");
    assert!(
        message.contains("late") && message.contains("more than one file"),
        "{message}"
    );
    assert_eq!(jobs(&master), [] as [Value; 0]);
}
