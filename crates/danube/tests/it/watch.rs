//! The server watches itself: panels drawn from its own history, and alerts that a real
//! fault makes fire and be over.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::cli::responder::{Answer, Responder};
use crate::master::{DEADLINE, Master};
use crate::processes::until;

/// Samples every second: a test doesn't wait for a quarter of a minute.
pub(crate) const FAST: &[&str] = &["--history-interval", "1"];

/// Holds the database's write lock until it is dropped: no check of it goes well.
pub(crate) struct LockedDatabase(Connection);

impl LockedDatabase {
    pub(crate) fn of(master: &Master) -> Self {
        let connection = Connection::open(master.dir.join("danube.db")).unwrap();
        connection.busy_timeout(DEADLINE).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(connection)
    }

    pub(crate) fn release(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

/// An event of the alert on the database. The machine's own disk may be nearly full,
/// which is another alert.
pub(crate) fn is_of_database(line: &Value, event: &str) -> bool {
    line["event"] == event && line["labels"] == "check=\"database\",job=\"danube\""
}

fn firing(master: &Master) -> Option<Value> {
    let mut all = alerts(master, "firing").into_iter();
    all.rfind(|it| it["labels"]["check"] == "database")
}

fn alerts(master: &Master, state: &str) -> Vec<Value> {
    let all = master.get("/api/v1/alerts").json();
    let all = all["alerts"].as_array().unwrap().iter();
    all.filter(|it| it["state"] == state).cloned().collect()
}

#[test]
fn a_check_that_fails_three_times_makes_an_alert_fire_and_its_end_ends_it() {
    let master = Master::with(FAST);
    let locked = LockedDatabase::of(&master);
    let fired = master.event(|it| is_of_database(it, "alert_fired"));
    assert_eq!(fired["alert"], "health_check_failing");
    assert_eq!(fired["level"], "warning");
    let shown = firing(&master).expect("it shows as long as it fires");
    assert_eq!(shown["name"], "health_check_failing");
    assert_eq!(shown["severity"], "warning");
    assert_eq!(shown["state"], "firing");
    assert!(shown["value"].as_f64().unwrap() >= 3.0, "{shown}");
    assert_eq!(shown["runbook"], "docs/runbooks/health_check_failing.md");
    assert_eq!(
        shown["promql"],
        "danube_health_check_consecutive_failures > 2"
    );
    // People see the same.
    let printed = master.danube(&["alerts"]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.contains("health_check_failing"), "{printed}");
    locked.release();
    let over = master.event(|it| is_of_database(it, "alert_resolved"));
    assert_eq!(over["alert"], "health_check_failing");
    assert_eq!(firing(&master), None);
}

#[test]
fn alertmanager_is_told_straight_and_in_the_words_of_the_exported_rules() {
    let alertmanager = Responder::new(vec![Answer::json(200, &json!({}))]);
    // A port that was free a moment ago: a proxy at which nobody listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let variables = ["http_proxy", "HTTP_PROXY", "ALL_PROXY"].map(|it| (it, proxy.as_str()));
    let arguments = [FAST, &["--alertmanager-url", &alertmanager.url]].concat();
    let master = Master::in_environment(&variables, &arguments);
    let _locked = LockedDatabase::of(&master);
    let told = until("it is told", DEADLINE, || {
        alertmanager.seen().into_iter().next()
    });
    assert_eq!(told.line, "POST /api/v2/alerts");
    let told: Value = serde_json::from_str(&told.body).unwrap();
    let (labels, annotations) = (&told[0]["labels"], &told[0]["annotations"]);
    let address = master.address.strip_prefix("http://").unwrap();
    assert_eq!(labels["instance"], address);
    assert_eq!(
        annotations["runbook_url"],
        "docs/runbooks/health_check_failing.md"
    );
    let description = annotations["description"].as_str().unwrap();
    assert!(
        description.ends_with("`danube signals explain health_check_failing` says what to do."),
        "{description}"
    );
}

#[test]
fn jobs_that_fail_make_their_alert_pend_and_show_in_the_panels() {
    let master = Master::with(FAST);
    // So many that the share says something.
    let fail = || master.ended(&master.run("exit 1"));
    let pending = until("the alert pends", DEADLINE, || {
        fail();
        alerts(&master, "pending")
            .into_iter()
            .find(|it| it["name"] == "job_failures")
    });
    assert_eq!(pending["severity"], "critical");
    assert!(pending["value"].as_f64().unwrap() > 0.5, "{pending}");
    let panel = until("the panel shows them", DEADLINE, || {
        let panel = master.get("/api/v1/panels/failed_jobs").json();
        let has_points = |line: &Value| {
            let points = line["points"].as_array().unwrap();
            points.iter().any(|it| it[1].as_f64().unwrap() > 0.0)
        };
        let lines = panel["series"].as_array().unwrap();
        lines.iter().any(has_points).then(|| panel.clone())
    });
    assert_eq!(panel["state"], "live");
    assert_eq!(panel["step_seconds"], 15);
    assert_eq!(panel["unit"], "count");
    let line = &panel["series"][0];
    assert_eq!(line["legend"], line["labels"]["pipeline"]);
}

#[test]
fn every_panel_is_listed_and_can_be_drawn_and_the_live_ones_have_lines() {
    let master = Master::with(FAST);
    master.ended(&master.run("echo hello"));
    let list = master.get("/api/v1/panels").json();
    let panels = list["panels"].as_array().unwrap().clone();
    assert!(panels.len() > 20, "{list}");
    for panel in &panels {
        let name = panel["name"].as_str().unwrap();
        let path = format!("/api/v1/panels/{name}");
        let answer = master.get(&path);
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let promql = panel["queries"][0]["promql"].as_str().unwrap();
        assert_eq!(answer.json()["queries"][0]["promql"], promql);
        if name == "disk_free" || name == "memory" || name == "active_jobs" {
            until(name, DEADLINE, || {
                let data = master.get(&path).json();
                (!data["series"].as_array().unwrap().is_empty()).then_some(())
            });
        }
    }
    let history = &master.get("/api/v1/panels").json()["history"];
    assert!(history["series"].as_u64().unwrap() > 50, "{history}");
    assert!(
        history["bytes"].as_u64().unwrap() < 64 * 1024 * 1024,
        "{history}"
    );
    assert_eq!(history["left_out"], 0);
}

#[test]
fn what_can_not_be_drawn_is_refused_with_a_reason() {
    let master = Master::start();
    let check = |path: &str, status: u16, says: &str| {
        let answer = master.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(says), "{path}: {}", answer.text());
    };
    check("/api/v1/panels/nothing", 404, "lists them");
    check("/api/v1/panels/memory?from=yesterday", 422, "RFC 3339");
    check("/api/v1/panels/memory?step=0", 422, "1 to 86400");
    check(
        "/api/v1/panels/memory?from=0&step=1",
        422,
        "2000 are allowed",
    );
    check("/api/v1/panels/memory?since=1", 400, "since");
    let stranger = master.request("GET", "/api/v1/alerts", &[], &[]);
    assert_eq!(stranger.status, 401);
}
