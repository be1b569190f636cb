//! What the blueprint keeps: neither time nor a lack of room ends it, as long as it says so.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::served::{Served, file, in_force, shown};
use crate::master::{Master, id};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const KEEP: &str = "keep: [{pipelines: [release]}, {refs: ['v*'], days: 90}]";

/// A pipeline whose jobs leave a log and an artifact.
fn leaving(name: &str) -> String {
    let step = "{name: say, run: 'echo hello; echo x > out', artifacts: [out]}";
    file("Pipeline", name, &format!("{{steps: [{step}]}}"))
}

fn config(retention: &str) -> String {
    let spec = format!("{{retention: {{logs_days: 30, artifacts_days: 30, {retention}}}}}");
    file("Config", "config", &spec)
}

/// An ended job of each kind, by what is said of it.
fn jobs(master: &Master) -> [String; 3] {
    let orders = [
        json!({"pipeline": "release"}),
        json!({"pipeline": "build", "ref": "v1.0"}),
        json!({"pipeline": "build", "ref": "main"}),
    ];
    orders.map(|order| {
        let job = id(&master.submit(&order));
        assert_eq!(master.ended(&job)["status"], "success", "{order}");
        job
    })
}

/// Logs, traces and artifacts, as if they had been left so many days ago.
fn age(dir: &Path, days: u32) {
    let then = SystemTime::now() - DAY * days;
    for kind in ["logs", "traces"] {
        for entry in fs::read_dir(dir.join(kind)).unwrap() {
            let file = File::options().write(true).open(entry.unwrap().path());
            file.unwrap().set_modified(then).unwrap();
        }
    }
    let connection = Connection::open(dir.join("danube.db")).unwrap();
    let then = then.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let then = i64::try_from(then.as_millis()).unwrap();
    let order = "UPDATE artifacts SET created_at = ?1";
    connection.execute(order, [then]).unwrap();
}

/// Whether log, trace and artifact of each job are there: all of it or nothing.
#[track_caller]
fn left<const N: usize>(master: &Master, jobs: [&str; N]) -> [bool; N] {
    jobs.map(|job| {
        let status = |what: &str| master.get(&format!("/api/v1/jobs/{job}/{what}")).status;
        let there = [status("logs"), status("trace"), status("artifacts/out")];
        let there = there.map(|it| it == 200);
        assert!(
            there == [true; 3] || there == [false; 3],
            "{job}: {there:?}"
        );
        there[0]
    })
}

fn reap(master: &Master, query: &str) -> Value {
    let answer = master.call("POST", &format!("/api/v1/admin/reaper{query}"), None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn what_the_blueprint_keeps_outlives_its_time_and_a_lack_of_room() {
    let served = Served::new();
    for name in ["release", "build"] {
        served.write(&format!("pipelines/{name}.yaml"), &leaving(name));
    }
    served.write("config.yaml", &config(KEEP));
    let first = served.commit();
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let arguments = served.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let restarted = |mut master: Master, days: u32| {
        master.signal("TERM");
        assert!(master.wait().success());
        drop(master);
        age(&dir, days);
        let master = Master::start_in(&dir, &arguments);
        master.event(|it| it["event"] == "reaper_completed");
        master
    };
    let master = Master::start_in(&dir, &arguments);
    in_force(&master, &first);
    let [release, tag, branch] = jobs(&master);
    let all = [release.as_str(), &tag, &branch];
    assert_eq!(left(&master, all), [true; 3]);
    let list = master
        .get(&format!("/api/v1/jobs/{release}/artifacts"))
        .json();
    assert_eq!(list["artifacts"][0]["kept_by_blueprint"], true, "{list}");
    let said = master.danube(&["artifact", "list", &release]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("blueprint"));
    let list = master
        .get(&format!("/api/v1/jobs/{branch}/artifacts"))
        .json();
    assert_eq!(
        list["artifacts"][0].get("kept_by_blueprint"),
        None,
        "{list}"
    );

    let master = restarted(master, 40);
    assert_eq!(left(&master, all), [true, true, false]);
    let master = restarted(master, 91);
    assert_eq!(left(&master, all), [true, false, false]);

    // No room for anything: what is kept counts, so all others go.
    let [_, tag, branch] = jobs(&master);
    let small = format!("logs_max_bytes: 1, artifacts_max_bytes: 1, {KEEP}");
    served.write("config.yaml", &config(&small));
    in_force(&master, &served.commit());
    let keys: Vec<Value> = shown(&master)["settings"].as_array().unwrap().clone();
    for key in ["retention.artifacts_max_bytes", "retention.keep"] {
        assert!(keys.iter().any(|it| it["key"] == key), "{keys:?}");
    }
    let would = reap(&master, "?dry_run=true");
    assert_eq!(
        (&would["logs_deleted"], &would["artifacts_deleted"]),
        (&json!(1), &json!(1)),
        "{would}"
    );
    reap(&master, "");
    let all = [release.as_str(), &tag, &branch];
    assert_eq!(left(&master, all), [true, true, false]);

    // By hand it can be deleted: a secret that a log shows mustn't wait for a commit.
    let logs = format!("/api/v1/jobs/{tag}/logs");
    assert_eq!(master.call("DELETE", &logs, None).status, 200);
    // What isn't said any more holds no more.
    served.write(
        "config.yaml",
        &config("logs_max_bytes: 1, artifacts_max_bytes: 1"),
    );
    in_force(&master, &served.commit());
    reap(&master, "");
    assert_eq!(left(&master, [&release]), [false]);
}
