//! A blueprint that is taken, and a commit that isn't.

use super::{Proof, Scenario};
use crate::blueprint::{Served, in_force, pipeline};

pub(super) const BLUEPRINT: Scenario = &[
    "danube_blueprint_sync_total",
    "danube_blueprint_sync_last_success",
    "danube_blueprint_sync_duration_seconds",
    "danube_blueprint_changes_applied_total",
];

#[test]
fn a_sync_counts_as_what_it_came_to_and_changes_by_what_they_concern() {
    let served = Served::new();
    let master = served.master(&[]);
    let proof = Proof::since_start(&master);
    let changes = |what: &str| format!("danube_blueprint_changes_applied_total{{type=\"{what}\"}}");
    for what in ["pipeline", "user", "team"] {
        proof.until(&changes(what), 1.0);
    }
    served.write("pipelines/a.yaml", &pipeline("a", ""));
    served.write(
        "pipelines/build.yaml",
        &pipeline("build", "max_duration_seconds: 9, "),
    );
    in_force(&master, &served.commit());
    proof.until(&changes("pipeline"), 3.0);
    proof.until_holds("danube_blueprint_sync_last_success", |it| it >= 1.7e9);
    proof.until_holds("danube_blueprint_sync_total{status=\"success\"}", |it| {
        it >= 2.0
    });
    proof.until_holds("danube_blueprint_sync_duration_seconds_count", |it| {
        it >= 2.0
    });
    served.write("pipelines/a.yaml", "wrong: [");
    served.commit();
    proof.until_holds("danube_blueprint_sync_total{status=\"error\"}", |it| {
        it >= 1.0
    });
    proof.complete(BLUEPRINT);
}
