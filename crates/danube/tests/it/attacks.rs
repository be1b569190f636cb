//! What strangers, and jobs that mean harm, try at the server's door. `docs/security.md` names
//! these tests beside those of the parts.

mod slow;

use std::fs;

use serde_json::{Value, json};

use crate::auth::cookie_of;
use crate::leaks::holds_none;
use crate::master::{Answer, Master, id, one_step};
use crate::wire::raw;

/// What a client may claim of itself, or of a proxy before it.
const CLAIMS: [(&str, &str); 12] = [
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-host", "evil.example.org"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-prefix", "//evil.example.org"),
    ("x-forwarded-user", "admin"),
    ("x-remote-user", "admin"),
    ("x-auth-request-user", "admin"),
    ("x-real-ip", "127.0.0.1"),
    (
        "forwarded",
        "for=127.0.0.1;host=evil.example.org;proto=https",
    ),
    ("x-original-url", "/login"),
    ("x-rewrite-url", "/login"),
    ("x-http-method-override", "DELETE"),
];

#[test]
fn what_a_client_claims_of_a_proxy_opens_and_changes_nothing() {
    let master = Master::start();
    let job = master.run("echo kept");
    master.ended(&job);
    for path in ["/api/v1/jobs", "/api/v1/api-keys", "/metrics"] {
        let answer = master.request("GET", path, &CLAIMS, b"");
        assert_eq!(answer.status, 401, "{path}");
    }
    let bearer = format!("Bearer {}", master.key);
    let mut claims = CLAIMS.to_vec();
    claims.push(("authorization", &bearer));
    claims.push(("content-type", "application/json"));
    // Nothing else is asked for than what is asked for.
    let log = format!("/api/v1/jobs/{job}/logs");
    assert_eq!(master.request("GET", &log, &claims, b"").body, b"kept\n");
    let made = master.request(
        "POST",
        "/api/v1/jobs",
        &claims,
        one_step("true").to_string().as_bytes(),
    );
    assert_eq!(made.status, 202, "{}", made.text());
    let location = made.header("location").unwrap();
    assert!(location.starts_with("/api/v1/jobs/"), "{location}");
    holds_none(&["evil.example.org"], &made.body, "the answer");
    assert_eq!(master.log(&job), b"kept\n");
    // Nor is another page led to, or a cookie set for another.
    let login = master.request("GET", "/", &CLAIMS, b"");
    holds_none(&["evil.example.org"], &login.body, "the page");
    assert!(
        login
            .header("location")
            .is_none_or(|it| it.starts_with('/'))
    );
}

#[test]
fn wrong_keys_are_soon_told_to_wait_and_a_right_one_is_not() {
    let master = Master::with(&["--public-url", "https://ci.example.org"]);
    let wrong = |claim: &str| {
        let headers = [
            ("authorization", "Bearer dnb_guess"),
            ("x-forwarded-for", claim),
        ];
        master.request("GET", "/api/v1/jobs", &headers, b"")
    };
    // Whoever is claimed to have sent it.
    let mut answers = (0..10_000).map(|it| wrong(&format!("192.0.2.{}", it % 256)));
    let bounded = answers.find(|it| it.status != 401).expect("a bound");
    assert_eq!(
        (bounded.status, bounded.header("retry-after")),
        (429, Some("1"))
    );
    assert_eq!(bounded.json()["code"], "too_many");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let page = master.request("POST", "/login", &form, b"key=dnb_guess");
    assert_eq!(page.status, 429);
    assert!(
        page.text().starts_with("<!doctype html>"),
        "{}",
        page.text()
    );
    // Others share the address, as behind a proxy: who has a key isn't kept out.
    assert_eq!(master.get("/api/v1/jobs").status, 200);
    assert_eq!(master.request("GET", "/health", &[], b"").status, 200);
    assert_eq!(
        master.request("GET", "/api/v1/jobs", &[], b"").status,
        401,
        "nothing was tried"
    );
}

#[test]
fn a_key_in_an_address_opens_nothing_and_is_not_remembered() {
    let master = Master::with(&["--log-level", "trace"]);
    let key = &master.key;
    for name in ["api_key", "key", "token", "access_token", "authorization"] {
        let path = format!("/api/v1/jobs?{name}={key}");
        assert_eq!(master.request("GET", &path, &[], b"").status, 401, "{name}");
    }
    let user = format!("/api/v1/jobs?user=:{key}@");
    assert_eq!(master.request("GET", &user, &[], b"").status, 401);
    holds_none(
        &[key],
        master.log_lines().join("\n").as_bytes(),
        "the server's log",
    );
}

#[test]
fn heads_that_are_too_large_and_bodies_that_are_too_deep_are_refused() {
    let master = Master::start();
    let long = "x".repeat(64 * 1024);
    for request in [
        format!("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        format!(
            "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n",
            "X-Many: 1\r\n".repeat(4_000)
        ),
    ] {
        let answer = raw(&master, request.as_bytes());
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["414", "431"].contains(&status), "{answer:?}");
    }
    let bearer = format!("Bearer {}", master.key);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    for body in ["[".repeat(100_000), "{\"a\":".repeat(100_000)] {
        let answer = master.request("POST", "/api/v1/jobs", &headers, body.as_bytes());
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert_eq!(answer.json()["code"], "malformed");
    }
    // Two lengths, or a length and pieces: where one request ends is never a matter of opinion.
    for lengths in [
        "Content-Length: 2\r\nContent-Length: 40",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
    ] {
        let request = format!(
            "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n{lengths}\r\n\r\n{{}}GET /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\nConnection: close\r\n\r\n"
        );
        let answer = raw(&master, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer:?}");
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "one answer: {answer:?}"
        );
    }
    assert_eq!(master.get("/api/v1/jobs").json()["jobs"], json!([]));
}

/// What other systems take for commands when a job prints it.
const COMMANDS: &str = r"::set-output name=result::pwned
::set-env name=PATH::/tmp/evil
::add-path::/tmp/evil
::add-mask::visible
::error file=a,line=1::not an error
::stop-commands::token
##[set-output name=result;]pwned
##vso[task.setvariable variable=result]pwned
##vso[task.complete result=Succeeded;]done
##teamcity[buildStatus status='SUCCESS' text='fine']
##teamcity[setParameter name='env.result' value='pwned']
@@DANUBE_STEP_END 0
";

#[test]
fn what_a_job_prints_commands_nothing() {
    let master = Master::start();
    let print = format!("cat <<'END'\n{COMMANDS}END\nexit 7");
    let job = master.submit(&json!({"spec": {"name": "prints", "steps": [
        {"name": "first", "run": print, "continue_on_error": true},
        {"name": "second", "run": "env | sort; echo visible"},
        {"name": "third", "run": "exit 9"},
    ]}}));
    let job = master.ended(&id(&job));
    assert_eq!(
        (&job["status"], &job["exit_code"]),
        (&json!("failure"), &json!(9)),
        "{job}"
    );
    let codes: Vec<&Value> = job["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["exit_code"])
        .collect();
    assert_eq!(codes, [7, 0, 9]);
    // It stands in the log as it was printed, and in no environment.
    let log = String::from_utf8(master.log(&id(&job))).unwrap();
    let second = log.strip_prefix(COMMANDS).expect("byte for byte");
    assert!(
        !second.contains("pwned") && !second.contains("/tmp/evil"),
        "{second}"
    );
    assert!(
        second.ends_with("visible\n"),
        "nothing is masked by it: {second}"
    );
}

/// Texts that break out of one thing or another.
const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{7*7}}",
    "\u{202e}gnp.exe",
    "a\u{1b}]0;title\u{7}b",
    "$(touch pwned)`touch pwned`",
];

#[test]
fn a_hostile_name_in_any_field_is_refused_or_only_text() {
    let master = Master::start();
    let mut pages = vec!["/".to_owned()];
    for text in HOSTILE {
        for order in [
            json!({"spec": {"name": text, "steps": [{"name": "say", "run": "true"}]}}),
            json!({"spec": {"name": "web", "steps": [{"name": text, "run": "true"}]}}),
            json!({"spec": {"name": "web", "steps": [{"name": "say", "run": text}]}}),
            json!({"spec": {"name": "web", "steps": [{"name": "say", "run": "true"}]}, "ref": text}),
            json!({"spec": {"name": "web", "steps": [{"name": "say", "run": "env"}]}, "params": {"TEXT": text}}),
            json!({"spec": {"name": "web", "steps": [{"name": "say", "run": "env", "env": {"TEXT": text}}]}}),
        ] {
            let answer = master.call("POST", "/api/v1/jobs", Some(&order));
            match answer.status {
                202 => {
                    let job = id(&answer.json());
                    master.ended(&job);
                    pages.push(format!("/jobs/{job}"));
                }
                _ => assert_eq!(answer.status, 422, "{order}: {}", answer.text()),
            }
        }
    }
    assert!(pages.len() > 10, "some are taken: {}", pages.len());
    for path in pages {
        let text = master.get(&path).text();
        let small = text.to_lowercase();
        assert_eq!(small.matches("<script").count(), 1, "{path}: {text}");
        for alive in ["<img", " onmouseover='", "href=\"javascript:", "\u{1b}"] {
            assert!(!small.contains(alive), "{alive} on {path}: {text}");
        }
    }
}

/// What every answer says to a browser, whatever it is.
fn is_hardened(answer: &Answer, path: &str) {
    for (name, wanted) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(answer.header(name), Some(wanted), "{name} of {path}");
    }
    let policy = answer.header("content-security-policy").unwrap_or_default();
    let kind = answer.header("content-type").unwrap_or_default();
    if kind.starts_with("text/html") || kind.starts_with("text/css") {
        assert_eq!(policy, crate::pages::CSP, "{path}");
    } else {
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
    }
    for word in ["unsafe", "data:", "*", "http:", "https:"] {
        assert!(!policy.contains(word), "{word} of {path}: {policy}");
    }
    assert!(
        policy.contains("frame-ancestors 'none'"),
        "{path}: {policy}"
    );
}

#[test]
fn every_answer_bounds_what_a_browser_may_do_with_it() {
    let master = Master::start();
    let job = master.run("echo hello");
    master.ended(&job);
    let described = master.get("/api/v1/openapi.json").json();
    let described = described["paths"].as_object().unwrap();
    let mut paths: Vec<String> = described
        .iter()
        .filter(|(_, methods)| methods.get("get").is_some())
        .map(|(path, _)| path.replace("/jobs/{id}", &format!("/jobs/{job}")))
        // A profile takes half a minute.
        .filter(|it| !it.contains("{") && !it.contains("/pprof/") && !it.contains("backup"))
        .collect();
    assert!(paths.len() > 20, "{paths:?}");
    paths.extend(["/", "/login", "/assets/0/danube.css", "/nowhere"].map(str::to_owned));
    paths.extend([format!("/jobs/{job}"), "/jobs/nobody".to_owned()]);
    for path in paths {
        let answer = master.get(&path);
        is_hardened(&answer, &path);
        is_hardened(&master.request("GET", &path, &[], b""), &path);
    }
    is_hardened(
        &master.call("PATCH", "/api/v1/jobs", None),
        "a wrong method",
    );
}

#[test]
fn a_page_of_another_site_signs_nobody_out() {
    let master = Master::start();
    let session = cookie_of(&master);
    let read = || {
        master
            .request("GET", "/api/v1/jobs", &[("cookie", &session)], b"")
            .status
    };
    let from = |site: &str| {
        let headers = [("cookie", session.as_str()), ("sec-fetch-site", site)];
        master.request("POST", "/logout", &headers, b"")
    };
    from("cross-site");
    from("same-site");
    assert_eq!(read(), 200);
    from("same-origin");
    assert_eq!(read(), 401);
}

#[test]
fn a_file_that_unfolds_without_end_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<char> = ('a'..='z').collect();
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for pair in names.windows(2) {
        let all = format!("*{}, ", pair[0]).repeat(10);
        bomb.push_str(&format!("{}: &{} [{all}]\n", pair[1], pair[1]));
    }
    let file = dir.path().join("bomb.yaml");
    fs::write(&file, bomb).unwrap();
    // Four gigabytes of addresses are more than any good file needs, and far less than this would.
    let tried = std::process::Command::new("prlimit")
        .args(["--as=4294967296", "--cpu=20", crate::master::DANUBE, "run"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(tried.status.code(), Some(2), "{tried:?}");
    holds_none(&["panicked"], &tried.stderr, "what is said");
}
