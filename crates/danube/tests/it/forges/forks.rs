//! Requests to merge: those of a fork have no secrets until somebody has approved them.

use serde_json::json;

use super::{World, count, request};
use crate::leaks::holds_none;
use crate::master::{Answer, Master};

const VALUE: &str = "canary/secret+of&fork-77aa02";

fn world() -> (World, Master) {
    let world = World::new(&[]);
    let step = "secrets: [deploy], triggers: {pull_request: {forks: true, branches: [main]}}, ";
    let url = format!("git://127.0.0.1:{}/team/app", world.daemon.port);
    let spec = format!(
        "{{repository: {url}, {step}steps: [{{name: say, run: 'git rev-parse HEAD; echo ${{#TOKEN}}', secrets: {{TOKEN: deploy}}}}]}}"
    );
    world.write(
        "pipelines/open.yaml",
        &crate::blueprint::file("Pipeline", "open", &spec),
    );
    world.declare("closed", "triggers: {pull_request: {}}, ", "true");
    let master = world.master(&[]);
    let set = master.call(
        "PUT",
        "/api/v1/secrets/deploy",
        Some(&json!({"value": VALUE})),
    );
    assert_eq!(set.status, 201);
    (world, master)
}

fn approve(master: &Master, job: &str) -> Answer {
    master.call("POST", &format!("/api/v1/jobs/{job}/approve"), None)
}

#[test]
fn a_forks_job_gets_no_secret_until_its_commit_is_approved_and_then_that_commit() {
    let (world, master) = world();
    let commit = world.commit("of a stranger");
    for (round, kind) in ["github", "gitlab", "gitea"].into_iter().enumerate() {
        let commit = if round == 0 {
            commit.clone()
        } else {
            world.commit(kind)
        };
        let (outcome, jobs) = request(kind, "1", (&commit, 2)).taken(&master);
        assert_eq!(
            (outcome.as_str(), jobs.len()),
            ("started", 1),
            "only where it is said"
        );
        let job = &jobs[0];
        let ended = master.ended(job);
        assert_eq!(ended["status"], "failure", "{ended:#}");
        let reason = ended["reason"].as_str().unwrap();
        assert!(
            reason.contains("`deploy`") && reason.contains("danube approve"),
            "{reason}"
        );
        assert_eq!(ended["forge"]["is_fork"], true);
        assert_eq!(ended["forge"]["request"], 7);
        let expected = if kind == "gitlab" {
            "refs/merge-requests/7/head"
        } else {
            "refs/pull/7/head"
        };
        assert_eq!(ended["trigger_ref"], expected);
        assert_eq!(ended["submitted_by"], format!("{kind}:stranger"));
        // A retry is no approval.
        let retried = master
            .call("POST", &format!("/api/v1/jobs/{job}/retry"), None)
            .json();
        let retried = master.ended(retried["id"].as_str().unwrap());
        assert_eq!(retried["status"], "failure");
        // The branch goes on; what was looked at is what is run.
        world.commit("something worse");
        let approved = approve(&master, job);
        assert_eq!(approved.status, 202, "{}", approved.text());
        let approved = crate::master::id(&approved.json());
        let ended = master.ended(&approved);
        assert_eq!(ended["status"], "success", "{ended:#}");
        assert_eq!(ended["retry_of"], **job);
        assert_eq!(ended["forge"]["approved_by"], "admin");
        let log = master.log(&approved);
        let text = String::from_utf8_lossy(&log);
        assert!(
            text.contains(&format!("{commit}\n{}\n", VALUE.len())),
            "{text}"
        );
        holds_none(&[VALUE], &log, "the log");
        assert_eq!(approve(&master, &approved).status, 409, "once is enough");
    }
    let audit = String::from_utf8(master.danube(&["audit", "list"]).stdout).unwrap();
    assert_eq!(audit.matches("/approve").count(), 6, "{audit}");
}

#[test]
fn who_may_not_write_approves_nothing_and_what_is_no_forks_needs_no_approval() {
    let (world, master) = world();
    let commit = world.commit("of a stranger");
    let (_, jobs) = request("github", "1", (&commit, 2)).taken(&master);
    master.ended(&jobs[0]);
    let viewer = json!({"name": "viewer", "role": "viewer"});
    let viewer = master
        .call("POST", "/api/v1/api-keys", Some(&viewer))
        .json();
    let key = format!("Bearer {}", viewer["key"].as_str().unwrap());
    let path = format!("/api/v1/jobs/{}/approve", jobs[0]);
    let answer = master.request("POST", &path, &[("authorization", &key)], b"");
    assert_eq!(answer.status, 403);
    assert_eq!(master.request("POST", &path, &[], b"").status, 401);
    // A branch of the repository itself is trusted.
    let (_, own) = request("github", "2", (&world.commit("own"), 1)).taken(&master);
    assert_eq!(own.len(), 2);
    for job in &own {
        assert_eq!(master.ended(job)["status"], "success");
        assert_eq!(approve(&master, job).status, 409);
    }
    assert_eq!(count(&master), 3);
    // By the command line: it prints the new job's id.
    let approved = master.danube(&["approve", &jobs[0]]);
    assert!(approved.status.success(), "{approved:?}");
    assert_eq!(count(&master), 4);
}
