//! The pages as they are sent: what they show, that nothing on them is alive but our script, and
//! what their forms do.

mod operation;

use serde_json::json;

use crate::master::{Answer, Master, id};

/// Of a page: our files, and nothing that stands in the page itself.
pub(crate) const CSP: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Checks what every page has; its text.
#[track_caller]
pub(crate) fn page(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", CSP),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let text = answer.text();
    assert!(text.starts_with("<!doctype html>"), "{text}");
    let small = text.to_lowercase();
    let ours = "<script type=\"module\" src=\"/assets/";
    assert_eq!(small.matches("<script").count(), 1, "{text}");
    assert!(small.contains(ours), "{text}");
    for alive in ["onerror=\"", "<img", "<iframe", "javascript:", " style="] {
        assert!(!small.contains(alive), "{alive} in {text}");
    }
    text
}

#[test]
fn the_pages_show_the_jobs_and_one_job() {
    let master = Master::start();
    let empty = page(&master.get("/"));
    assert!(empty.contains("No job has run here yet"), "{empty}");
    let job = master.submit(&json!({"spec": {"name": "web & docs", "steps": [
        {"name": "say: hello, you & me", "run": "echo one; exit 3"},
    ]}, "ref": "fix/a&b".replace('&', "-")}));
    let job = master.ended(&id(&job));
    let list = page(&master.get("/"));
    assert!(
        list.contains("web &#38; docs") || list.contains("web &amp; docs"),
        "{list}"
    );
    assert!(!list.contains("web & docs"), "{list}");
    let (full, short) = (id(&job), job["short_id"].as_str().unwrap());
    assert!(
        list.contains(&format!("href=\"/jobs/{full}\""))
            && list.contains(short)
            && list.contains("failure"),
        "{list}"
    );
    for name in [full.as_str(), short] {
        let shown = page(&master.get(&format!("/jobs/{name}")));
        for text in [
            "<span class=\"x\">one</span>",
            "ended with exit code 3",
            "<td class=\"number\">3</td>",
            "fix/a-b",
            &format!("/api/v1/jobs/{full}/logs"),
        ] {
            assert!(shown.contains(text), "{text} in {shown}");
        }
        assert!(
            !shown.contains("http-equiv"),
            "an ended job doesn't change any more"
        );
    }
}

#[test]
fn what_a_job_prints_is_only_text_on_its_page() {
    let master = Master::start();
    let job = master.run(
        r#"printf '</pre><script>alert(1)</script><img src=x onerror="alert(2)">\n'
        printf '\033[31mred\033[0m \033]0;title\007\033]8;;javascript:alert(3)\007link\033]8;;\007 \000\377\n50%%\r100%%\n'
        printf '&lt;b&gt; "quoted" it'"'"'s\n'"#,
    );
    master.ended(&job);
    for path in [format!("/jobs/{job}"), format!("/jobs/{job}/log")] {
        let text = page(&master.get(&path))
            .replace("&#60;", "&lt;")
            .replace("&#62;", "&gt;")
            .replace("&#38;", "&amp;");
        for shown in [
            "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;",
            "<span class=\"f1\">red</span> link",
            // A progress bar is drawn over itself.
            "<span class=\"x\">100%</span>",
            "&amp;lt;b&amp;gt;",
        ] {
            assert!(text.contains(shown), "{shown} in {text}");
        }
        let raw = text.contains('\u{1b}') || text.contains('\u{0}') || text.contains("title\u{7}");
        assert!(!raw, "{text}");
        assert!(!text.contains("50%"), "{text}");
    }
}

#[test]
fn a_long_or_cut_log_says_so_on_its_page() {
    let master = Master::with(&["--log-head", "400KiB", "--log-total", "800KiB"]);
    let long = master.run("seq 1 50000");
    master.ended(&long);
    let shown = page(&master.get(&format!("/jobs/{long}")));
    assert!(
        shown.contains("49,901 to 50,000 of 50,000"),
        "{}",
        &shown[..2_000]
    );
    assert!(shown.contains("<span class=\"x\">50000</span>"));
    assert!(!shown.contains("<span class=\"x\">100</span>"));
    let cut = master.run("seq 1 200000");
    let cut = master.ended(&cut);
    assert!(cut["log_missing_bytes"].as_u64().unwrap() > 0);
    let shown = page(&master.get(&format!("/jobs/{}", id(&cut))));
    assert!(
        shown.contains(" are missing</strong>"),
        "{}",
        &shown[..2_000]
    );
}

fn login_for(path: &str) -> String {
    match path {
        "/" => "/login".to_owned(),
        path => format!("/login?next={}", path.replace('/', "%2F")),
    }
}

#[test]
fn strangers_are_led_to_the_login() {
    let master = Master::start();
    let job = master.run("true");
    master.ended(&job);
    for path in [
        "/".to_owned(),
        format!("/jobs/{job}"),
        "/jobs/zzzzzzzz".to_owned(),
    ] {
        let answer = master.request("GET", &path, &[], b"");
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, Some(&*login_for(&path))),
            "{path}"
        );
        let json = [("accept", "application/json")];
        assert_eq!(
            master.request("GET", &path, &json, b"").status,
            401,
            "{path}"
        );
        assert!(!answer.text().contains(&job));
    }
    let login = page(&master.request("GET", "/login", &[], b""));
    assert!(
        login.contains("type=\"password\"") && login.contains("method=\"post\""),
        "{login}"
    );
    assert!(!login.contains(&master.key));
    let style = login.split('"').find(|it| it.ends_with("/danube.css"));
    let style = master.request("GET", style.expect("a style"), &[], b"");
    assert_eq!(
        (style.status, style.header("content-type")),
        (200, Some("text/css; charset=utf-8"))
    );
    let kept = style.header("cache-control").unwrap();
    assert!(kept.contains("immutable"), "{kept}");
    // Another version's address has this version's file, and isn't kept.
    let other = master.request("GET", "/assets/0/danube.css", &[], b"");
    assert_eq!(
        (other.status, other.header("cache-control")),
        (200, Some("no-store"))
    );
    assert_eq!(other.body, style.body);
}

#[test]
fn what_nobody_knows_is_not_found() {
    let master = Master::start();
    for path in [
        "/jobs/zzzzzzzz",
        "/jobs/01900000-0000-7000-8000-000000000000",
        "/jobs/%3Cscript%3E",
    ] {
        let answer = master.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-security-policy"), Some(CSP));
        let text = answer.text();
        assert!(text.contains("there is no job `"), "{path}: {text}");
        assert!(!text.contains("`<script"), "{path}: {text}");
        let answer = by_key(&master, path, "application/json");
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (404, Some("not_found"))
        );
    }
    for path in ["/jobs/%ff", "/jobs/", "/nothing", "/assets/0/nothing"] {
        assert_eq!(master.get(path).status, 404, "{path}");
    }
}

fn by_key(master: &Master, path: &str, accept: &str) -> Answer {
    let key = format!("Bearer {}", master.key);
    let headers = [("authorization", key.as_str()), ("accept", accept)];
    master.request("GET", path, &headers, b"")
}

#[test]
fn a_program_gets_what_a_page_shows_as_json() {
    let master = Master::start();
    let job = master.run("echo hello; exit 4");
    master.ended(&job);
    let list = by_key(&master, "/?failed_first=1", "application/json");
    assert_eq!(list.header("content-type"), Some("application/json"));
    let list = list.json();
    assert_eq!(list["failed"][0]["id"], *job, "{list}");
    assert_eq!(list["jobs"], json!([]));
    assert_eq!(list["load"], json!({"waiting": 0, "running": 0}));
    let one = by_key(&master, &format!("/jobs/{job}"), "application/json").json();
    assert_eq!(
        one["job"],
        master.get(&format!("/api/v1/jobs/{job}")).json()
    );
    assert_eq!(one["log"]["window"]["rows"][0]["runs"], json!(["hello"]));
    let page = by_key(&master, "/", "text/html, application/json;q=0.9");
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
}

#[test]
fn a_list_shows_what_its_address_asks_for() {
    let master = Master::start();
    let run = |name: &str, run: &str| {
        let job =
            master.submit(&json!({"spec": {"name": name, "steps": [{"name": "say", "run": run}]}}));
        master.ended(&id(&job))["short_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (good, bad) = (run("web", "true"), run("docs", "false"));
    let newest: Vec<String> = (0..60).map(|_| run("many", "true")).collect();
    let shows = |path: &str, wanted: &[&str], others: &[&str]| {
        let text = page(&master.get(path));
        for it in wanted {
            assert!(text.contains(*it), "{it} on {path}");
        }
        for it in others {
            assert!(!text.contains(*it), "{it} on {path}");
        }
        text
    };
    let first = shows("/", &[&newest[59], &newest[10]], &[&newest[9], &good, &bad]);
    let older = first
        .split("rel=\"next\" href=\"")
        .nth(1)
        .expect("older ones");
    let older = older.split('"').next().unwrap().replace("&#38;", "&");
    shows(
        &older,
        &[&newest[9], &good, &bad],
        &[&newest[10], "rel=\"next\""],
    );
    shows("/?status=failure,timeout", &[&bad], &[&good]);
    shows("/?status=&pipeline=web", &[&good], &[&bad]);
    shows("/?failed_first=1", &[&bad, &newest[59]], &[&good]);
    shows("/?pipeline=none", &["No such job"], &[&bad]);
    assert_eq!(master.get("/?status=finished").status, 400);
}

/// What signs a browser in: the answer to the login's form.
fn sign_in(master: &Master) -> Answer {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = format!("key={}", master.key);
    master.request("POST", "/login", &form, body.as_bytes())
}

/// A signed-in browser: its cookie, and the token of the forms on a page.
fn signed_in(master: &Master, path: &str) -> (String, String) {
    let cookie = crate::auth::cookie(&sign_in(master));
    let page = master.request("GET", path, &[("cookie", &cookie)], b"");
    let text = page.text();
    let token = text.split("name=\"csrf\" value=\"").nth(1).expect("a form");
    (cookie, token.split('"').next().unwrap().to_owned())
}

#[test]
fn a_form_stops_and_repeats_a_job_and_only_from_a_page_of_its_session() {
    let master = Master::start();
    let job = master.run(crate::processes::HELD);
    master.until_log(&job, "begin\n");
    let (cookie, token) = signed_in(&master, &format!("/jobs/{job}"));
    let send = |what: &str, (cookie, token): (&str, &str), site: &str| {
        let headers = [
            ("cookie", cookie),
            ("sec-fetch-site", site),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let body = format!("csrf={token}");
        master.request(
            "POST",
            &format!("/jobs/{job}/{what}"),
            &headers,
            body.as_bytes(),
        )
    };
    let (other, others_token) = signed_in(&master, &format!("/jobs/{job}"));
    for (who, token, site) in [
        (&cookie, "", "same-origin"),
        (&cookie, &*others_token, "same-origin"),
        (&other, &*token, "same-origin"),
        (&cookie, &*token, "cross-site"),
        (&cookie, &*token, "same-site"),
    ] {
        let refused = send("cancel", (who, token), site);
        assert_eq!(refused.status, 403, "{token} {site}");
    }
    let over = send("cancel", ("danube_session=over", &token), "same-origin");
    assert_eq!(over.status, 401);
    assert!(
        over.text().contains("signed in any more"),
        "{}",
        over.text()
    );
    assert_eq!(master.job(&job)["status"], "running");
    let early = send("retry", (&cookie, &token), "same-origin");
    assert_eq!(early.status, 409, "{}", early.text());
    let stopped = send("cancel", (&cookie, &token), "same-origin");
    let back = format!("/jobs/{job}");
    assert_eq!(
        (stopped.status, stopped.header("location")),
        (303, Some(&*back))
    );
    assert_eq!(master.ended(&job)["status"], "cancelled");
    let again = send("retry", (&cookie, &token), "same-origin");
    assert_eq!(again.status, 303, "{}", again.text());
    let new = again
        .header("location")
        .unwrap()
        .strip_prefix("/jobs/")
        .unwrap();
    assert_eq!(master.job(new)["retry_of"], *job);
    let (cookie, token) = signed_in(&master, &format!("/jobs/{new}"));
    assert_eq!(send("cancel", (&cookie, &token), "none").status, 409);
    master.call("DELETE", &format!("/api/v1/jobs/{new}"), None);
    master.ended(new);
}

#[test]
fn below_a_path_every_address_of_a_page_stands_below_it_whoever_takes_it_away() {
    let master = Master::with(&["--public-url", "https://example.org/ci/"]);
    let job = master.run("true");
    master.ended(&job);
    for path in ["/".to_owned(), format!("/jobs/{job}"), "/login".to_owned()] {
        let text = master.get(&path).text();
        // As a proxy asks that leaves the path there.
        let whole = master.get(&format!("/ci{path}"));
        assert_eq!(whole.status, 200, "{path}");
        assert_eq!(whole.text().len(), text.len(), "{path}");
        for name in ["href", "src", "action", "data-live"] {
            for address in text.split(&format!(" {name}=\"")).skip(1) {
                let address = address.split('"').next().unwrap();
                let is_below = address.starts_with("/ci/") || address.starts_with('#');
                assert!(is_below, "{name} {address} on {path}");
            }
        }
    }
    let led = master.request("GET", "/jobs/x", &[], b"");
    assert_eq!(led.header("location"), Some("/ci/login?next=%2Fjobs%2Fx"));
    let entered = sign_in(&master);
    let session = entered.header("set-cookie").expect("a session");
    assert!(session.contains("; Path=/ci/"), "{session}");
    assert!(session.contains("; Secure"), "{session}");
    assert_eq!(master.get("/cinema").status, 404);
}
