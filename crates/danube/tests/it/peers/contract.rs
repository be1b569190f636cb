//! The API beside its own description: Schemathesis calls every operation with what the
//! description allows and with what it doesn't, and holds the answers to it.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::program::finish_within;
use super::python::environment;
use crate::artifacts::Waiting;
use crate::blueprint::Served;
use crate::master::{Master, id, one_step};
use crate::receiver::{Receiver, Reply};
use crate::webhooks::{ALLOWED, told_at};

/// The hooks that put real ids into requests.
const HOOKS: &str = include_str!("python/contract.py");

/// Each run makes the same requests; a long one may make others.
const SEED: &str = "20260107";
const SEED_VARIABLE: &str = "DANUBE_CONTRACT_SEED";

/// Requests an operation that are made up at random, beside those that go through the
/// borders of each value one by one.
const CASES: &str = "10";

/// The same for a long run.
const CASES_VARIABLE: &str = "DANUBE_CONTRACT_CASES";

/// How long a run may take: the short one takes some twenty seconds.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// What isn't called, or never with success: spans come in protobuf and with the token of a job that runs,
/// artifacts with the same token (`artifacts.rs` sends some), a profile takes up to
/// a minute and one is taken at a time (`profile.rs` and `profiles.rs` call both), and the description itself
/// was read to begin with.
const NOT_CALLED: [&str; 8] = [
    // Signed by a forge, for what it wasn't told, and for a fork's commit: `forges` has them.
    "POST /api/v1/forges/{forge}/{name}",
    "POST /api/v1/forges/statuses/{id}/replay",
    "POST /api/v1/jobs/{id}/approve",
    "PUT /api/v1/jobs/{id}/artifacts/{name}",
    "POST /v1/traces",
    "GET /debug/pprof/profile",
    "GET /debug/pprof/heap",
    "GET /api/v1/openapi.json",
];

/// What is there to be asked for. Nothing runs any more, so that no text that is made up
/// is ever run.
struct Prepared {
    master: Master,
    /// Names by operation, or by path for all its operations.
    real: Value,
    /// Kept while it is followed.
    served: Served,
}

#[track_caller]
fn made(master: &Master, path: &str, body: &Value) -> Value {
    let answer = master.call("POST", path, Some(body));
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

/// A key, a worker, a credential and a secret of each name.
fn make_spares(master: &Master, names: &[String]) {
    for name in names {
        let role = json!({"name": name, "role": "viewer"});
        made(master, "/api/v1/api-keys", &role);
        made(master, "/api/v1/workers", &json!({"name": name}));
        let credential = json!({"name": name, "kind": "become", "password": "correct horse"});
        made(master, "/api/v1/credentials", &credential);
        let secret = json!({"value": "correct horse battery"});
        let path = format!("/api/v1/secrets/{name}");
        assert_eq!(master.call("PUT", &path, Some(&secret)).status, 201);
    }
}

fn prepared(dir: &Path) -> Prepared {
    let receiver = Receiver::new(&[Reply::Status(204, "")]);
    let mut master = Master::start_in(dir, ALLOWED);
    let ended: Vec<String> = (0..4).map(|_| master.run("echo hello; exit 3")).collect();
    for job in &ended {
        master.ended(job);
    }
    let maker = Waiting::start(&master);
    let files: Vec<String> = (0..4).map(|it| format!("file-{it}")).collect();
    for name in &files {
        assert_eq!(maker.put(&master, name, b"made").status, 200);
    }
    let maker = maker.end(&master);
    let told = told_at(&master, &receiver.address);
    receiver.next();
    master.signal("TERM");
    assert!(master.wait().success());

    let served = Served::new();
    let url = served.url();
    let master = Master::start_in(dir, &["--jobs-at-once", "0", "--blueprint-url", &url]);
    let pending: Vec<String> = (0..4)
        .map(|_| id(&master.submit(&one_step("true"))))
        .collect();
    let names: Vec<String> = (0..8).map(|it| format!("spare-{it}")).collect();
    make_spares(&master, &names);
    let (deleted, kept) = ended.split_at(2);
    let files: Vec<Value> = files
        .iter()
        .map(|it| json!({"id": maker, "name": it}))
        .collect();
    let (files_deleted, files_kept) = files.split_at(2);
    let real = json!({
        "/api/v1/jobs/{id}": [&kept[0], &pending[0]],
        "DELETE /api/v1/jobs/{id}": [&kept[0], &pending[1], &pending[2]],
        "/api/v1/jobs/{id}/artifacts": [maker],
        "/api/v1/jobs/{id}/artifacts/{name}": files_kept,
        "POST /api/v1/jobs/{id}/artifacts": [&ended[0]],
        "DELETE /api/v1/jobs/{id}/artifacts/{name}": files_deleted,
        "/api/v1/jobs/{id}/events": kept,
        "/api/v1/jobs/{id}/history": kept,
        "/api/v1/jobs/{id}/logs": kept,
        "DELETE /api/v1/jobs/{id}/logs": [&deleted[0], &deleted[1], &pending[3]],
        "/api/v1/jobs/{id}/logs/folds": kept,
        "/api/v1/jobs/{id}/logs/search": kept,
        "/api/v1/jobs/{id}/logs/stream": kept,
        "/api/v1/jobs/{id}/mask": [&kept[1], &pending[3]],
        "/api/v1/jobs/{id}/provenance": [maker],
        "/api/v1/jobs/{id}/retry": kept,
        "/api/v1/jobs/{id}/stream": kept,
        "/api/v1/jobs/{id}/trace": kept,
        "/api/v1/api-keys/{id}": names,
        "/api/v1/workers/{name}": names,
        "/api/v1/credentials/{name}": names,
        "/api/v1/credentials/{name}/usage": names,
        "/api/v1/secrets/{name}": names,
        "/api/v1/panels/{name}": ["jobs_per_hour"],
        "/api/v1/pipelines/{name}/timing": [master.job(&ended[0])["pipeline"]],
        "/api/v1/forges/statuses/{id}/replay": kept,
        "/api/v1/webhooks/deliveries/{id}": [&told],
        "/api/v1/webhooks/deliveries/{id}/replay": [&told],
    });
    Prepared {
        master,
        real,
        served,
    }
}

/// `METHOD PATH` of every operation.
fn described(master: &Master) -> BTreeSet<String> {
    let document = master.get("/api/v1/openapi.json").json();
    let paths = document["paths"].as_object().expect("there are paths");
    let methods = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("operations by method");
        methods
            .keys()
            .map(move |it| format!("{} {path}", it.to_uppercase()))
    });
    methods.collect()
}

#[test]
fn no_request_gets_an_answer_that_the_description_does_not_know() {
    let own = tempfile::tempdir().expect("make a directory");
    let Prepared {
        master,
        real,
        served: _served,
    } = prepared(&own.path().join("data"));
    let file = |name: &str| own.path().join(name);
    let given = json!({
        "real": real,
        "ended": ["/api/v1/jobs/{id}/stream", "/api/v1/jobs/{id}/logs/stream"],
        "record": file("record"),
    });
    fs::write(file("given.json"), given.to_string()).expect("write what is there");
    fs::write(file("hooks.py"), HOOKS).expect("write the hooks");
    // Told as keys and not as headers: so it knows when it shows a wrong one.
    let key = &master.key;
    let settings = format!(
        "[auth.openapi.bearer]\nbearer = \"{key}\"\n\n[auth.openapi.x-api-key]\napi_key = \"{key}\"\n"
    );
    fs::write(file("schemathesis.toml"), settings).expect("write the keys");

    let cases = env::var(CASES_VARIABLE).unwrap_or_else(|_| CASES.to_owned());
    let seed = env::var(SEED_VARIABLE).unwrap_or_else(|_| SEED.to_owned());
    let mut command = Command::new(environment().join("bin/python"));
    command
        .args(["-I", "-m", "schemathesis.cli", "--config-file"])
        .arg(file("schemathesis.toml"))
        .arg("run")
        .arg(format!("{}/api/v1/openapi.json", master.address))
        .args(["--seed", &seed, "--max-examples", &cases])
        .args(["--phases", "examples,coverage,fuzzing,stateful"])
        // All but two: whether a cursor, a regular expression or a combination is good
        // isn't something that a schema can say; and a job is cancelled with DELETE, which
        // leaves it there to be read.
        .args(["--checks", "all"])
        .args([
            "--exclude-checks",
            "positive_data_acceptance,use_after_free",
        ])
        .args(["--continue-on-failure", "--no-shrink", "--warnings", "off"])
        // An answer that doesn't end would be an error here.
        .args(["--request-timeout", "20"])
        .args(["--exclude-path", "/v1/traces"])
        .args(["--exclude-path-regex", "^/debug/pprof/"])
        .current_dir(own.path())
        .env("SCHEMATHESIS_HOOKS", file("hooks.py"))
        .env("DANUBE_CONTRACT", file("given.json"))
        .env("NO_COLOR", "1");
    let ended = finish_within(command, b"", LONGEST);
    assert!(ended.status.success(), "{}\n{}", ended.stdout, ended.stderr);

    // It still lives, and what was asked with was good to the end.
    assert_eq!(master.get("/api/v1/jobs").status, 200);
    // And each operation did what it is for at least once: nothing was only refused.
    let record = fs::read_to_string(file("record")).expect("the answers were recorded");
    let done: BTreeSet<String> = record
        .lines()
        .filter_map(|it| it.rsplit_once(' '))
        .filter(|(_, status)| status.starts_with('2'))
        .map(|(operation, _)| operation.to_owned())
        .collect();
    let mut expected = described(&master);
    expected.retain(|it| !NOT_CALLED.contains(&it.as_str()));
    let never: Vec<&String> = expected.difference(&done).collect();
    assert!(
        never.is_empty(),
        "these were never answered with success: {never:?}"
    );
}
