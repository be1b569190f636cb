//! How forges are: whether they answer and take their token, and what they weren't told.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::api::Api;
use super::{ALLOWED, World, know, push};
use crate::leaks::holds_none;
use crate::master::{DEADLINE, Master};
use crate::processes::until;
use crate::receiver::{Receiver, Reply};

const TOKEN: &str = "canary/forge+token-look-77";

fn doctor(master: &Master, dir: &Path) -> Value {
    let asked = ["doctor", "--output", "json", "--data-dir"];
    let out = master.danube(&[&asked[..], &[dir.to_str().unwrap()]].concat());
    holds_none(&[TOKEN], &out.stdout, "what doctor says");
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    let checks = found["checks"].as_array().unwrap().iter();
    let mut of = checks.filter(|it| it["check"] == "forges");
    of.next().expect("it is looked at").clone()
}

#[test]
fn a_token_that_is_refused_and_links_that_lead_nowhere_are_told() {
    let world = World::new(&[]);
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let forge = Api::new();
    let good = (200, "", &json!({}));
    forge.says("/api/v3/rate_limit", good);
    // It may set statuses, and not say who it is.
    forge.says("/api/v1/user", (403, "", &json!({})));
    forge.says("/api/v4/version", (401, "", &json!({})));
    let arguments = [&ALLOWED[..], &["--health-interval", "1"]].concat();
    let master = world.start_in(&dir, &arguments);
    assert_eq!(doctor(&master, &dir)["status"], "disabled");
    know(&master, &forge.address, Some(TOKEN));
    let told = master.event(|it| {
        let error = it["error"].as_str().unwrap_or_default();
        it["event"] == "health_check_failed"
            && error.starts_with("own-gitlab: it refuses the token")
    });
    assert_eq!(
        (&told["check"], &told["status"]),
        (&"forges".into(), &"degraded".into())
    );
    assert_eq!(master.get("/health/ready").status, 200, "it gates nothing");
    let asked = forge.asked("/api/v4/version");
    assert!(
        asked[0].contains(&format!("private-token: {TOKEN}")),
        "{asked:?}"
    );
    let found = doctor(&master, &dir);
    assert_eq!(found["status"], "failed", "{found}");
    assert!(
        found["detail"].as_str().unwrap().contains("own-gitlab"),
        "{found}"
    );
    assert!(
        found["fix"]
            .as_str()
            .unwrap()
            .contains("danube credential set"),
        "{found}"
    );
    forge.says("/api/v4/version", good);
    master.event(|it| it["event"] == "health_check_recovered" && it["check"] == "forges");
    let found = doctor(&master, &dir);
    assert_eq!(found["status"], "degraded", "{found}");
    assert!(
        found["detail"]
            .as_str()
            .unwrap()
            .contains("public_url isn't set"),
        "{found}"
    );
    let settings = "[server]\npublic_url = \"https://ci.example.org\"\n";
    fs::write(dir.join("danube.toml"), settings).unwrap();
    let found = doctor(&master, &dir);
    assert_eq!(found["status"], "ok", "{found}");
    holds_none(
        &[TOKEN],
        master.log_lines().join("\n").as_bytes(),
        "the log",
    );
}

#[test]
fn what_a_forge_was_not_told_is_listed_and_told_again_by_hand() {
    let world = World::new(&[("build", "triggers: {push: {}}, ")]);
    let forge = Receiver::new(&[Reply::Status(410, "")]);
    let arguments = world.arguments(&[&ALLOWED[..], &["--jobs-at-once", "0"]].concat());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let master = Master::with(&arguments);
    know(&master, &forge.address, Some(TOKEN));
    let commit = world.commit("second");
    let (_, jobs) = push("gitea", "1", &commit).taken(&master);
    forge.next();
    let list = |query: &str| -> Vec<Value> {
        let list = master
            .get(&format!("/api/v1/forges/statuses{query}"))
            .json();
        list["statuses"].as_array().unwrap().clone()
    };
    let failed = until("it is given up", DEADLINE, || {
        let all = list("");
        all.first().filter(|it| it["status"] == "failed").cloned()
    });
    assert_eq!(failed["job_id"], *jobs[0]);
    assert_eq!(failed["commit"], commit);
    assert_eq!(
        (&failed["name"], &failed["attempts"]),
        (&"own-gitea".into(), &1.into())
    );
    assert!(
        failed["error"].as_str().unwrap().contains("410"),
        "{failed}"
    );
    assert_eq!(list("?status=failed").len(), 1);
    assert_eq!(list("?status=pending").len(), 0);
    assert_eq!(
        master.get("/api/v1/forges/statuses?status=told").status,
        400
    );
    let out = master.danube(&["forge", "statuses"]);
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(
        said.contains(&jobs[0]) && said.contains("own-gitea"),
        "{said}"
    );
    forge.now(Reply::Status(201, ""));
    let out = master.danube(&["forge", "replay", &jobs[0]]);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let told = forge.next();
    assert!(told.line.contains(&commit), "{}", told.line);
    assert_eq!(told.json()["state"], "pending");
    until("it is settled", DEADLINE, || {
        list("").is_empty().then_some(())
    });
    // A job that no forge asked for has none to be told.
    let other = crate::master::id(&master.submit(&crate::master::one_step("true")));
    let answer = master.call(
        "POST",
        &format!("/api/v1/forges/statuses/{other}/replay"),
        None,
    );
    assert_eq!(answer.status, 404, "{}", answer.text());
}
