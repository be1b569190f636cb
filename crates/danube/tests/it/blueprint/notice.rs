//! What the pages say at their head while the blueprint is wrong or can't be fetched.

use serde_json::{Value, json};

use super::served::{Served, check, file, in_force, shown};
use crate::auth::cookie_of;
use crate::master::{DEADLINE, Master, id, one_step};
use crate::pages::page;
use crate::playbooks::git;
use crate::processes::until;

const HEAD: &str = "class=\"notice\"";

/// A page as somebody with this header sees it.
#[track_caller]
fn seen(master: &Master, path: &str, header: (&str, &str)) -> String {
    page(&master.request("GET", path, &[header], b""))
}

fn bearer(master: &Master, body: &Value) -> String {
    let answer = master.call("POST", "/api/v1/api-keys", Some(body));
    assert_eq!(answer.status, 201, "{}", answer.text());
    format!("Bearer {}", answer.json()["key"].as_str().unwrap())
}

#[test]
fn a_wrong_commit_is_told_on_every_page_of_who_manages_the_server_and_nothing_on_it_is_alive() {
    let served = Served::new();
    let master = served.master(&[]);
    let good = git(&served.dir(), &["rev-parse", "HEAD"]);
    let cookie = cookie_of(&master);
    let link = ("cookie", cookie.as_str());
    let job = id(&master.submit(&one_step("echo hello")));
    master.ended(&job);
    let paths = ["/".to_owned(), format!("/jobs/{job}")];
    for path in &paths {
        assert!(!seen(&master, path, link).contains(HEAD), "{path}");
    }

    let evil = "'<script>alert(1)</script>'";
    served.write(
        "teams/web.yaml",
        &file("Team", "web", &format!("{{members: [alice, {evil}]}}")),
    );
    let bad = served.commit();
    check(&master, "degraded");
    let since = shown(&master)["error"]["at"].clone();
    for _ in 0..2 {
        let answer = master.call("POST", "/api/v1/blueprint/sync", None);
        assert_eq!(answer.status, 422, "{}", answer.text());
    }
    let error = &shown(&master)["error"];
    assert_eq!(error["at"], since, "it doesn't begin anew with each look");
    for path in &paths {
        let text = seen(&master, path, link);
        for part in [
            HEAD,
            "The blueprint is wrong",
            since.as_str().unwrap(),
            &bad[..12],
            &good[..12],
            "teams/web.yaml:4:25",
            "alert(1)",
            "danube blueprint show",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(text.matches(HEAD).count(), 1, "{text}");
    }
    // Of no use to others, and it names what isn't theirs.
    for who in [
        json!({"name": "looker", "role": "viewer"}),
        json!({"name": "member", "role": "member"}),
        json!({"name": "bounded", "role": "member", "pipelines": ["*"]}),
    ] {
        let key = bearer(&master, &who);
        let text = seen(&master, "/", ("authorization", &key));
        assert!(
            !text.contains(HEAD) && !text.contains("alert(1)"),
            "{who}: {text}"
        );
    }
    let login = page(&master.request("GET", "/login", &[], b""));
    assert!(!login.contains(HEAD), "{login}");

    served.write("teams/web.yaml", &file("Team", "web", "{members: [alice]}"));
    in_force(&master, &served.commit());
    assert!(!seen(&master, "/", link).contains(HEAD));
}

#[test]
fn an_unreachable_repository_is_told_with_what_is_in_force_also_where_that_is_nothing() {
    let mut served = Served::new();
    let master = served.master(&[]);
    let good = git(&served.dir(), &["rev-parse", "HEAD"]);
    served.stop();
    check(&master, "degraded");
    let text = page(&master.get("/"));
    for part in [
        HEAD,
        "The blueprint can",
        "be fetched",
        "127.0.0.1",
        &good[..12],
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let url = served.url();
    let never = Master::with(&["--blueprint-url", &url, "--blueprint-interval", "1"]);
    let text = until("it was looked at", DEADLINE, || {
        let text = page(&never.get("/"));
        text.contains(HEAD).then_some(text)
    });
    assert!(text.contains("None was ever taken"), "{text}");
    served.serve();
    in_force(&master, &good);
    assert!(!page(&master.get("/")).contains(HEAD));
}
