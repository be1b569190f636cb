//! A real Alertmanager, which takes alerts as Prometheus and the master post them.

use std::fs;

use serde_json::{Value, json};
use ureq::Agent;

use super::program::{Program, find};
use super::prometheus::agent;

/// A running Alertmanager. Ended when dropped.
pub(crate) struct Alertmanager {
    _program: Program,
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    agent: Agent,
}

impl Alertmanager {
    /// Takes alerts and tells nobody.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::with(&json!({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}))
    }

    /// Runs with `config`.
    #[track_caller]
    pub(crate) fn with(config: &Value) -> Self {
        let dir = tempfile::tempdir().expect("make a directory");
        // JSON is YAML.
        fs::write(dir.path().join("alertmanager.yml"), config.to_string())
            .expect("write its configuration");
        let arguments = [
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            "--web.listen-address=127.0.0.1:0",
            // It would look for others of its kind on all interfaces.
            "--cluster.listen-address=",
        ];
        let path = find(&["alertmanager", "prometheus-alertmanager"]);
        let mut program = Program::start("alertmanager", &path, &arguments, dir);
        let url = format!("http://{}", program.listens_at());
        let agent = agent();
        program.wait("it is ready", |_| {
            let answer = agent.get(format!("{url}/-/ready")).call().ok()?;
            answer.status().is_success().then_some(())
        });
        Self {
            _program: program,
            url,
            agent,
        }
    }

    /// The alerts that it knows, of its v2 API.
    #[track_caller]
    pub(crate) fn alerts(&self) -> Vec<Value> {
        let url = format!("{}/api/v2/alerts", self.url);
        let mut answer = self.agent.get(url).call().expect("ask Alertmanager");
        let body = answer.body_mut().read_to_string().expect("its answer");
        serde_json::from_str(&body).expect("a list of alerts")
    }
}

#[test]
fn alertmanager_takes_an_alert_and_shows_it() {
    let alertmanager = Alertmanager::start();
    assert_eq!(alertmanager.alerts(), Vec::<Value>::new());
    let alert = json!([{
        "labels": {"alertname": "danube_disk_full", "severity": "critical"},
        "annotations": {"summary": "the \"disk\" is full"},
    }]);
    let url = format!("{}/api/v2/alerts", alertmanager.url);
    let taken = agent().post(url).send_json(&alert);
    assert_eq!(taken.expect("post an alert").status(), 200);
    let alerts = alertmanager.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0]["labels"], alert[0]["labels"]);
    assert_eq!(alerts[0]["annotations"], alert[0]["annotations"]);
    assert_eq!(alerts[0]["status"]["state"], "active");
}
