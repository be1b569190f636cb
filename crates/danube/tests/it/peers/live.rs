//! Every panel and every alert whose families are recorded has something to show, in
//! a real Prometheus, for a master that runs real jobs.

use danube_signals::{Expected, State, alerts, panels};
use danube_telemetry::query::Expr;

use super::jobs;
use super::prometheus::{Point, Prometheus};
use crate::blueprint::Served;
use crate::master::Master;
use crate::playbooks::{ended, tasks};
use crate::receiver::{Receiver, Reply};
use crate::webhooks::{ALLOWED, told_at};

/// What Grafana would put in the place of its own window at our interval.
const WINDOW: &str = "60s";

/// What an alert's condition looks at, whether it holds or not.
fn looks_at(condition: &Expr) -> &Expr {
    match condition {
        Expr::Compare { left, .. } | Expr::Or { left, .. } => looks_at(left),
        other => other,
    }
}

#[test]
fn every_live_panel_and_alert_has_data_in_prometheus() {
    let receiver = Receiver::new(&[Reply::Status(200, "")]);
    let served = Served::new();
    let master = served.master(ALLOWED);
    let prometheus = Prometheus::scraping(&master);
    // A counter that appears with its first event has not grown yet, to Prometheus.
    for name in ["far", "further"] {
        jobs::run(&master);
        jobs::visited(&master, name);
        let played = ended(&master, &tasks("- command: 'true'\n"));
        assert_eq!(played["status"], "success", "{played:#}");
        let told = told_at(&master, &receiver.address);
        master.event(|it| it["event"] == "webhook_sent" && it["job_id"] == told);
        prometheus.scraped();
    }

    let mut asked = 0;
    let mut empty = Vec::new();
    let mut ask = |name: &str, expr: &Expr| {
        let query = expr.promql(WINDOW);
        let points = prometheus.query(&query);
        if points.iter().all(|it| it.value.is_nan()) {
            empty.push(format!("{name}: {query}"));
        }
        asked += 1;
    };
    for panel in panels().iter().filter(|it| it.state() == State::Live) {
        for query in &panel.queries {
            ask(panel.name, &query.expr);
        }
    }
    for alert in alerts(Expected::default()) {
        if alert.state() == State::Live {
            ask(alert.name, looks_at(&alert.condition));
        }
    }
    assert_eq!(empty, [""; 0], "of {asked}");
    assert!(asked >= 20, "{asked}");
}

#[test]
fn no_alert_holds_for_a_healthy_master_and_none_for_one_that_did_nothing() {
    let master = Master::start();
    let prometheus = Prometheus::scraping(&master);
    let silent = || {
        prometheus.scraped();
        // The disk is the machine's own: where it is nearly full, that is no mistake.
        let is_full = !prometheus.query("danube_disk_free_ratio < 0.1").is_empty();
        for alert in alerts(Expected::default()) {
            let query = alert.condition.promql(WINDOW);
            let points = prometheus.query(&query).into_iter();
            let of_disk = |it: &Point| {
                let check = it.labels.get("check").map(String::as_str);
                alert.name == "disk_nearly_full" || check == Some("disk")
            };
            let points: Vec<Point> = points.filter(|it| !(is_full && of_disk(it))).collect();
            assert_eq!(points, [], "{}: {query}", alert.name);
        }
    };
    silent();
    for _ in 0..2 {
        let job = master.run("echo well");
        jobs::counted(&master, &job);
        silent();
    }
}
