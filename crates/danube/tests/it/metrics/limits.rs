//! More names than a family takes.

use serde_json::json;

use super::{Proof, Scenario};
use crate::master::Master;

pub(super) const OVERFLOW: Scenario = &["danube_metrics_series_overflow_total"];

/// Pipelines that a family shows by name.
const SHOWN: usize = 1_000;

/// Those that come after.
const MORE: usize = 5;

#[test]
fn pipelines_past_the_limit_share_a_series_and_the_sums_stay_right() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let proof = Proof::of(&master);
    let mut last = String::new();
    for number in 0..SHOWN + MORE {
        let name = format!("p{number}");
        let body = json!({"spec": {"name": name, "steps": [{"name": "only", "run": "true"}]}});
        last = crate::master::id(&master.submit(&body));
    }
    let pending = |pipeline: &str| {
        format!(
            "cicd_pipeline_run_active{{cicd_pipeline_name=\"{pipeline}\",cicd_pipeline_run_state=\"pending\"}}"
        )
    };
    let more = f64::from(u32::try_from(MORE).unwrap());
    proof.until(&pending("__other__"), more);
    proof.until(&pending("p0"), 1.0);
    let all = f64::from(u32::try_from(SHOWN + MORE).unwrap());
    let state = [("cicd_pipeline_run_state", "pending")];
    assert_eq!(proof.now().sum("cicd_pipeline_run_active", &state), all);
    // Looked up more than once for each job.
    let turned_away = r#"danube_metrics_series_overflow_total{family="danube_jobs_total"}"#;
    proof.until_holds(turned_away, |it| it >= more);
    // What is shared goes down again.
    assert_eq!(
        master
            .call("DELETE", &format!("/api/v1/jobs/{last}"), None)
            .status,
        202
    );
    proof.until(&pending("__other__"), more - 1.0);
    proof.until(
        r#"danube_jobs_total{status="cancelled",pipeline="__other__"}"#,
        1.0,
    );
    proof.complete(OVERFLOW);
}
