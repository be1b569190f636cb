//! A fault of a real master shows in a real Alertmanager, and so does its end.

use danube_model::Timestamp;
use serde_json::Value;

use super::alerting::Alertmanager;
use crate::master::{DEADLINE, Master};
use crate::processes::until;
use crate::watch::{FAST, LockedDatabase, is_of_database};

const NAME: &str = "DanubeHealthCheckFailing";

fn known(alertmanager: &Alertmanager) -> Option<Value> {
    let mut all = alertmanager.alerts().into_iter();
    // The machine's own disk may be nearly full, which is another alert.
    all.rfind(|it| it["labels"]["alertname"] == NAME && it["labels"]["check"] == "database")
}

#[test]
fn a_fault_of_the_master_fires_in_alertmanager_and_ends_there() {
    let alertmanager = Alertmanager::start();
    let with_url = [FAST, &["--alertmanager-url", &alertmanager.url]].concat();
    let master = Master::with(&with_url);
    let locked = LockedDatabase::of(&master);
    let fired = until("it fires", DEADLINE, || known(&alertmanager));
    assert_eq!(fired["labels"]["severity"], "warning");
    assert_eq!(fired["status"]["state"], "active");
    assert_eq!(
        fired["annotations"]["runbook_url"],
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
fn an_alertmanager_that_is_away_is_told_of_once_a_minute_and_holds_up_nothing() {
    // A port that was free a moment ago: nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let master = Master::with(&[FAST, &["--alertmanager-url", &url]].concat());
    let locked = LockedDatabase::of(&master);
    let told = master.event(|it| it["event"] == "alerts_not_sent");
    assert!(told["alerts"].as_u64().unwrap() >= 1, "{told}");
    assert!(!told["error"].as_str().unwrap().is_empty());
    master.event(|it| is_of_database(it, "alert_fired"));
    locked.release();
    master.event(|it| is_of_database(it, "alert_resolved"));
    let lines = master.log_lines();
    let warnings = lines.iter().filter(|it| it.contains("alerts_not_sent"));
    let times: Vec<Timestamp> = warnings
        .map(|it| serde_json::from_str::<Value>(it).unwrap())
        .map(|it| Timestamp::parse(it["timestamp"].as_str().unwrap()).unwrap())
        .collect();
    for pair in times.windows(2) {
        // It tries every few seconds and tells once a minute; a second is for the clock.
        assert!(pair[1].seconds_since(pair[0]) >= 59.0, "{times:?}");
    }
}
