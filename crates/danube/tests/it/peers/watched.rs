//! A fault of a real master shows in a real Alertmanager, and so does its end.

use serde_json::Value;

use super::alerting::Alertmanager;
use crate::master::{DEADLINE, Master};
use crate::processes::until;
use crate::watch::{FAST, LockedDatabase};

const NAME: &str = "DanubeHealthCheckFailing";

fn known(alertmanager: &Alertmanager) -> Option<Value> {
    let all = alertmanager.alerts().into_iter();
    all.filter(|it| it["labels"]["alertname"] == NAME).last()
}

#[test]
fn a_fault_of_the_master_fires_in_alertmanager_and_ends_there() {
    let alertmanager = Alertmanager::start();
    let with_url = [FAST, &["--alertmanager-url", &alertmanager.url]].concat();
    let master = Master::with(&with_url);
    let locked = LockedDatabase::of(&master);
    let fired = until("it fires", DEADLINE, || known(&alertmanager));
    assert_eq!(fired["labels"]["severity"], "warning");
    assert_eq!(fired["labels"]["check"], "database");
    assert_eq!(fired["status"]["state"], "active");
    assert_eq!(
        fired["annotations"]["runbook"],
        "docs/runbooks/health_check_failing.md"
    );
    let source = format!("{}/api/v1/alerts", master.address);
    assert_eq!(fired["generatorURL"], source);
    locked.release();
    // Alertmanager shows what is active; what is over goes.
    until("it is over", DEADLINE, || {
        known(&alertmanager).is_none().then_some(())
    });
    assert!(
        !master
            .log_lines()
            .iter()
            .any(|it| it.contains("alerts_not_sent"))
    );
}

#[test]
fn an_alertmanager_that_is_away_is_told_of_once_and_holds_up_nothing() {
    // A port that was free a moment ago: nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let master = Master::with(&[FAST, &["--alertmanager-url", &url]].concat());
    let locked = LockedDatabase::of(&master);
    let told = master.event(|it| it["event"] == "alerts_not_sent");
    assert_eq!(told["alerts"], 1);
    assert!(!told["error"].as_str().unwrap().is_empty());
    locked.release();
    master.event(|it| it["event"] == "alert_resolved");
    let lines = master.log_lines();
    let warnings = lines.iter().filter(|it| it.contains("alerts_not_sent"));
    assert_eq!(warnings.count(), 1);
}
