//! The pages of operation: dashboards, alerts, checks and signals.

use serde_json::{Value, json};

use super::page;
use crate::master::{Answer, DEADLINE, Master};
use crate::processes::until;

/// A page as a program gets it.
fn value(master: &Master, path: &str) -> Value {
    let bearer = format!("Bearer {}", master.key);
    let headers = [("authorization", &*bearer), ("accept", "application/json")];
    let answer = master.request("GET", path, &headers, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// A panel of a dashboard's value.
fn panel<'a>(dashboard: &'a Value, name: &str) -> &'a Value {
    let panels = dashboard["panels"].as_array().unwrap();
    panels.iter().find(|it| it["name"] == name).unwrap()
}

#[test]
fn a_dashboard_draws_what_is_measured_and_leads_to_jobs() {
    let master = Master::with(&["--history-interval", "1"]);
    let job = master.run("true");
    master.ended(&job);
    let path = "/dashboards/job_overview?range=15m";
    let shown = until(
        "a sample, and what the job was measured by",
        DEADLINE,
        || {
            let shown = value(&master, path);
            let is_drawn = panel(&shown, "active_jobs")["series"] != json!([]);
            let leads = panel(&shown, "job_duration_average")["exemplars"] != json!([]);
            (is_drawn && leads).then_some(shown)
        },
    );
    assert_eq!(shown["range"], "15m");
    let average = panel(&shown, "job_duration_average");
    assert_eq!(average["exemplars"][0]["job_id"], *job);
    let text = page(&master.get(path));
    for part in [
        "<svg class=\"l0\"",
        "sum by (status)",
        "href=\"/dashboards/errors?range=15m\"",
        &format!("href=\"/jobs/{job}\""),
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(master.get("/dashboards/nothing").status, 404);
    for name in ["performance", "errors", "playbooks"] {
        page(&master.get(&format!("/dashboards/{name}")));
    }
    let waits = page(&master.get("/dashboards/capacity"));
    assert!(waits.contains("it waits for the Kubernetes executor"));
}

#[test]
fn alerts_checks_and_signals_are_pages_and_values() {
    let master = Master::start();
    let text = page(&master.get("/alerts"));
    // Whatever fires: the machine's own disk may be nearly full.
    assert!(
        text.contains("watched") && text.contains("All rules"),
        "{text}"
    );
    let rules = value(&master, "/alerts")["rules"].clone();
    for rule in rules.as_array().unwrap() {
        let name = rule["name"].as_str().unwrap();
        let text = page(&master.get(&format!("/alerts/{name}")));
        assert!(text.contains("<h2>Look first</h2>"), "{name}: {text}");
    }
    assert_eq!(master.get("/alerts/nothing").status, 404);
    let text = page(&master.get("/checks"));
    assert!(text.contains("id=\"check-database\""), "{text}");
    assert_eq!(value(&master, "/checks")["report"]["status"], "ready");
    let text = page(&master.get("/signals?q=danube_jobs_total+STATUS"));
    assert!(text.contains("id=\"metric-danube_jobs_total\""), "{text}");
    assert!(!text.contains("id=\"event-master_ready\""), "{text}");
}

#[test]
fn who_may_not_look_at_the_server_sees_its_signals_alone() {
    let master = Master::start();
    let make = |fields: Value| {
        let made = master.call("POST", "/api/v1/api-keys", Some(&fields));
        made.json()["key"].as_str().unwrap().to_owned()
    };
    let viewer = make(json!({"name": "viewer", "role": "viewer"}));
    let scoped = make(json!({"name": "scoped", "role": "member", "pipelines": ["web"]}));
    let get = |key: &str, path: &str| -> Answer {
        let bearer = format!("Bearer {key}");
        master.request("GET", path, &[("authorization", &*bearer)], b"")
    };
    for path in [
        "/dashboards",
        "/dashboards/errors",
        "/alerts",
        "/alerts/api_slow",
        "/checks",
    ] {
        let seen = page(&get(&viewer, path));
        assert!(seen.contains("href=\"/dashboards\""), "{seen}");
        let refused = get(&scoped, path);
        assert_eq!(refused.status, 403, "{path}: {}", refused.text());
        let stranger = master.request("GET", path, &[], b"");
        assert_eq!(stranger.status, 303, "{path}");
    }
    let seen = page(&get(&scoped, "/signals"));
    assert!(!seen.contains("href=\"/dashboards\""), "{seen}");
}
