//! The repository of the blueprint, or the OpenID provider, takes connections and says nothing:
//! the server goes on, and says who it waits for.

use std::thread;
use std::time::Duration;

use super::git::Silent;
use super::row::row;
use crate::auth::cookie_of;
use crate::health;
use crate::master::{Master, id, one_step};
use crate::processes::until;
use crate::signin;

/// How long it may take until a fetch is given up, and told: a minute, and some.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(90);

/// How the server says that it stands with a check, and why.
fn check(master: &Master, name: &str) -> (String, String) {
    let found = health::check(master, name);
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"))
}

/// Jobs, sessions and keys are as ever.
fn goes_on(master: &Master, session: &str) {
    let job = master.ended(&id(&master.submit(&one_step("echo on"))));
    assert_eq!(job["status"], "success", "{job}");
    let headers = [("cookie", session)];
    let answer = master.request("GET", "/api/v1/jobs", &headers, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_blueprint_whose_git_server_says_nothing_is_given_up_and_the_server_goes_on() {
    let row = row!("a git remote that hangs");
    let own = tempfile::tempdir().unwrap();
    let mut silent = Silent::new();
    let url = silent.url("git");
    let options = ["--blueprint-url", &url, "--blueprint-interval", "1"];
    let mut master = Master::start_in(own.path(), &options);
    silent.arrival();
    let session = cookie_of(&master);
    goes_on(&master, &session);
    // Killed in the midst of it, it leaves no git.
    master.kill();
    silent.is_left();
    drop(master);

    let master = Master::start_in(own.path(), &options);
    silent.arrival();
    goes_on(&master, &session);
    until("it is given up", GIVEN_UP_WITHIN, || {
        let (status, why) = check(&master, "blueprint_sync");
        (status == "failed" && why.contains("end in time")).then_some(())
    });
    silent.is_left();
    goes_on(&master, &session);
    row.held(2, "given up after a minute".to_owned());
}

#[test]
fn a_provider_that_says_nothing_keeps_nobody_waiting_but_who_signs_in() {
    let row = row!("an OpenID provider that is away or hangs");
    let own = tempfile::tempdir().unwrap();
    signin::declare(
        &own.path().join("blueprint"),
        &[("alice", "alice@example.org")],
    );
    let mut silent = Silent::new();
    let issuer = silent.url("http");
    let master = signin::started(own.path(), &issuer);
    let session = cookie_of(&master);
    let page = thread::scope(|scope| {
        let asked = scope.spawn(|| master.request("GET", "/login/oidc", &[], b""));
        silent.arrival();
        goes_on(&master, &session);
        asked.join().unwrap()
    });
    assert_eq!(page.status, 502);
    let text = page.text();
    assert!(
        text.contains("You aren") && text.contains("provider can"),
        "{text}"
    );
    let why = until("the check says so", GIVEN_UP_WITHIN, || {
        let (status, message) = check(&master, "dex");
        (status == "failed").then_some(message)
    });
    assert!(why.contains("127.0.0.1"), "{why}");
    // It isn't what the server itself needs.
    assert_eq!(master.get("/health/ready").status, 200);
    goes_on(&master, &session);
    row.held(1, "one sign-in waited, and was told why".to_owned());
}
