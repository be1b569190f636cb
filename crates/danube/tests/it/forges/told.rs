//! Forges hear how jobs stand: when they come and when they end, over refusals and restarts.

use super::{World, push, request};
use crate::leaks::holds_none;
use crate::master::Master;
use crate::receiver::{Receiver, Reply, Taken};

const TOKEN: &str = "canary/forge+token-90ac11";

/// A master that tells forges at this address.
fn master(world: &World, forge: &Receiver) -> Master {
    let master = {
        let arguments = world.arguments(&[
            "--forges-allow-private",
            "127.0.0.0/8",
            "--forges-allow-http",
        ]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Master::with(&arguments)
    };
    super::know(&master, &forge.address, Some(TOKEN));
    master
}

/// What came: to which path, with which state.
fn said(taken: &Taken) -> (String, String) {
    let path = taken.line.split(' ').nth(1).unwrap().to_owned();
    (path, taken.json()["state"].as_str().unwrap().to_owned())
}

#[test]
fn each_forge_hears_that_a_job_came_and_how_it_ended() {
    let world = World::new(&[
        ("good", "triggers: {push: {branches: [main]}}, "),
        ("bad", "triggers: {pull_request: {forks: true}}, "),
    ]);
    world.declare("bad", "triggers: {pull_request: {forks: true}}, ", "exit 3");
    let forge = Receiver::new(&[Reply::Status(201, "")]);
    let master = master(&world, &forge);
    for (kind, path, (name, header), failure) in [
        (
            "github",
            "/api/v3/repos/team/app/statuses/",
            ("authorization", "Bearer "),
            "failure",
        ),
        (
            "gitlab",
            "/api/v4/projects/team%2Fapp/statuses/",
            ("private-token", ""),
            "failed",
        ),
        (
            "gitea",
            "/api/v1/repos/team/app/statuses/",
            ("authorization", "token "),
            "failure",
        ),
    ] {
        let commit = world.commit(kind);
        let webhooks = [push(kind, "1", &commit), request(kind, "2", (&commit, 2))];
        for (webhook, pipeline, end) in [
            (&webhooks[0], "good", "success"),
            (&webhooks[1], "bad", failure),
        ] {
            let (_, jobs) = webhook.taken(&master);
            assert_eq!(jobs.len(), 1);
            let mut taken = forge.next();
            // A job may have ended before its beginning was told.
            if said(&taken).1 == "pending" {
                assert_eq!(
                    said(&taken),
                    (format!("{path}{commit}"), "pending".to_owned())
                );
                taken = forge.next();
            }
            assert_eq!(said(&taken), (format!("{path}{commit}"), end.to_owned()));
            assert_eq!(taken.headers[name], format!("{header}{TOKEN}"));
            let body = taken.json();
            assert_eq!(body["context"], format!("danube/{pipeline}"));
            let target = body["target_url"].as_str().unwrap();
            assert!(target.ends_with(&format!("/jobs/{}", jobs[0])), "{target}");
            holds_none(&[TOKEN], taken.body.as_bytes(), "the body");
        }
    }
    holds_none(
        &[TOKEN],
        master.log_lines().join("\n").as_bytes(),
        "the server's log",
    );
}

#[test]
fn a_forge_that_refuses_or_is_away_is_told_later_over_a_kill_and_what_is_outdated_never() {
    let world = World::new(&[("build", "triggers: {push: {}}, ")]);
    let forge = Receiver::new(&[Reply::Status(503, "")]);
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let allowed = [
        "--forges-allow-private",
        "127.0.0.0/8",
        "--forges-allow-http",
    ];
    let mut master = world.start_in(&dir, &allowed);
    super::know(&master, &forge.address, Some(TOKEN));
    let commit = world.commit("second");
    let (_, jobs) = push("github", "1", &commit).taken(&master);
    let failed = master.event(|it| it["event"] == "commit_status_failed");
    assert_eq!(failed["credential_name"], "own-github");
    assert!(
        failed["error"].as_str().unwrap().contains("503"),
        "{failed}"
    );
    master.ended(&jobs[0]);
    let shown = crate::processes::until("why is shown", crate::master::DEADLINE, || {
        let job = master.job(&jobs[0]);
        job["forge"]["status_error"].as_str().map(str::to_owned)
    });
    assert!(shown.contains("503"), "{shown}");
    master.kill();
    drop(master);
    forge.rest();
    forge.now(Reply::Status(201, ""));
    // It is due still, within ten seconds from then.
    let master = world.start_in(&dir, &allowed);
    let taken = loop {
        let taken = forge.next();
        if said(&taken).1 != "pending" {
            break taken;
        }
    };
    assert_eq!(said(&taken).1, "success");
    assert!(
        taken.json()["target_url"]
            .as_str()
            .unwrap()
            .ends_with(&jobs[0])
    );
    // Another job of the commit stands for it from now on.
    let again = master
        .call("POST", &format!("/api/v1/jobs/{}/retry", jobs[0]), None)
        .json();
    let again = again["id"].as_str().unwrap();
    master.ended(again);
    let taken = loop {
        let taken = forge.next();
        if said(&taken).1 != "pending" {
            break taken;
        }
    };
    assert!(
        taken.json()["target_url"]
            .as_str()
            .unwrap()
            .ends_with(again)
    );
}
