//! Sign-in as people see it: in a real browser, at a real provider.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is tests; clippy sees only the functions marked so"
)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;

use serde_json::{Value, json};

use super::front::Front;
use super::{Browser, Profile, Report};
use crate::auth::login_path;
use crate::faults::Inject;
use crate::master::{DEADLINE, Master, id};
use crate::processes::{root_or_skip, until};
use crate::rights::declare;
use crate::signin::browser::Browser as Script;
use crate::signin::peer::Peer;
use crate::signin::{started, started_with};

const SESSION: &str = "danube_session";

/// What the provider's own page asks for on other machines, in vain.
const PROVIDERS_FONTS: &str = "https://fonts.googleapis.com/";

/// Nothing was refused by a page's policy, no script broke, and nobody else was asked.
#[track_caller]
fn sound(profile: &Profile<'_>) {
    let bad: Vec<Report> = profile
        .reported()
        .into_iter()
        .filter(|it| it.kind != "console" && !it.text.starts_with(PROVIDERS_FONTS))
        .collect();
    assert_eq!(bad, []);
}

/// Signs in at the provider's own form, from the page with the link to it.
#[track_caller]
fn sign_in(person: &Profile<'_>, email: &str) {
    person.click("a:text-is('Sign in')");
    person.fill("[name=login]", email);
    person.fill("[name=password]", "whatever it is");
    person.click("button:text-is('Sign-in')");
    person.click("button:text-is('Continue')");
    person.wait_for("h1:text-is('Jobs')");
}

/// Whether a session opens anything.
fn opens(master: &Master, session: &Value) -> bool {
    let cookie = format!("{SESSION}={}", session["value"].as_str().unwrap());
    let headers = [("cookie", cookie.as_str())];
    master.request("GET", "/api/v1/jobs", &headers, b"").status == 200
}

/// The session's cookie, which is as it has to be.
#[track_caller]
fn session(person: &Profile<'_>, is_secure: bool) -> Value {
    let found = person.cookie(SESSION).expect("a session");
    for (flag, value) in [
        ("httpOnly", json!(true)),
        ("sameSite", json!("Lax")),
        ("secure", json!(is_secure)),
        ("path", json!("/")),
        // With the browser's end.
        ("expires", json!(-1)),
    ] {
        assert_eq!(found[flag], value, "{flag}: {found}");
    }
    let seen = person.run("document.cookie");
    assert_eq!(seen, "", "no script sees it");
    found
}

#[test]
fn a_person_signs_in_at_a_provider_sees_what_is_theirs_and_signs_out() {
    let own = tempfile::tempdir().unwrap();
    declare(own.path(), true);
    let mut peer = Peer::start();
    peer.order(&json!({"form": true}));
    // The provider is another site, as it is everywhere: `SameSite` has to let people back.
    let front = Front::start();
    let master = started_with(own.path(), &peer.issuer, &["--public-url", &front.address]);
    front.lead_to(&master.address);
    let [web, payroll] = ["web", "payroll"].map(|it| {
        let job = id(&master.submit(&json!({"pipeline": it})));
        master.ended(&job);
        job
    });
    let browser = Browser::start();
    let reader = browser.profile("reader");

    assert_eq!(reader.go(&front.address), 200);
    assert_eq!(reader.shown().url, format!("{}/login", front.address));
    sound(&reader);
    // Somebody put a session of their own there.
    reader.run(&format!("document.cookie = '{SESSION}=chosen; path=/'"));
    sign_in(&reader, "reader@example.org");
    sound(&reader);
    let shown = reader.shown();
    assert_eq!(shown.url, format!("{}/", front.address));
    assert!(shown.text.contains("reader"), "{}", shown.text);
    let sees_theirs = |text: &str| text.contains("web") && !text.contains("payroll");
    assert!(sees_theirs(&shown.text), "{}", shown.text);
    let first = session(&reader, false);
    assert_ne!(first["value"], "chosen");
    assert_eq!(reader.cookie("danube_signin"), None);

    assert_eq!(reader.reload(), 200);
    let shown = reader.shown();
    assert!(sees_theirs(&shown.text), "{}", shown.text);
    assert_eq!(reader.go(&format!("{}/jobs/{payroll}", front.address)), 404);
    assert_eq!(reader.go(&format!("{}/jobs/{web}", front.address)), 200);
    assert!(reader.shown().text.contains("hi"));
    sound(&reader);

    reader.click("button:text-is('Log out')");
    reader.wait_for("h1:text-is('Log in')");
    assert_eq!(reader.cookie(SESSION), None);
    assert!(!opens(&master, &first), "it is no more, whoever kept it");
    reader.back();
    let shown = reader.shown();
    let login = format!("{}/login", front.address);
    assert!(shown.url.starts_with(&login), "{}", shown.url);
    assert!(!shown.text.contains("web"), "{}", shown.text);
    sound(&reader);

    // The provider still knows who it is, and asks only whether it may tell; the session is another one.
    reader.click("a:text-is('Sign in')");
    reader.click("button:text-is('Continue')");
    // Where they wanted to go.
    reader.wait_for("h1:has-text('web')");
    assert_ne!(session(&reader, false)["value"], first["value"]);
}

#[test]
fn a_link_lets_one_browser_in_once_and_a_key_does_with_a_cookie_for_https() {
    let master = Master::start();
    until("the login link", DEADLINE, || {
        master.stderr().contains("/login?token=").then_some(())
    });
    let link = format!("{}{}", master.address, login_path(&master));
    let browser = Browser::start();
    let (first, second) = (browser.profile("first"), browser.profile("second"));
    assert_eq!(first.go(&link), 200);
    first.wait_for("h1:text-is('Jobs')");
    let shown = first.shown();
    assert_eq!(shown.url, format!("{}/", master.address));
    assert!(shown.text.contains("login link"), "{}", shown.text);
    session(&first, false);
    assert_eq!(first.reload(), 200);
    assert_eq!(second.go(&link), 401);
    let shown = second.shown();
    assert!(shown.text.contains("This link was used"), "{}", shown.text);
    assert_eq!(second.cookie(SESSION), None);
    sound(&first);
    sound(&second);

    // Behind a proxy with TLS.
    let master = Master::with(&["--public-url", "https://ci.example.org"]);
    let by_key = browser.profile("key");
    assert_eq!(by_key.go(&format!("{}/login", master.address)), 200);
    by_key.fill("[name=key]", &master.key);
    by_key.click("button:text-is('Log in')");
    by_key.wait_for("h1:text-is('Jobs')");
    session(&by_key, true);
    sound(&by_key);
}

#[test]
fn the_way_back_of_somebody_else_signs_no_browser_in_and_says_so() {
    let own = tempfile::tempdir().unwrap();
    declare(own.path(), true);
    let mut peer = Peer::start();
    let account = json!({"sub": "1", "email": "keeper@example.org", "email_verified": true});
    peer.order(&json!({"account": account}));
    let master = started(own.path(), &peer.issuer);
    let start = format!("{}/login/oidc", master.address);
    let callback = format!("{start}/callback");
    let mut keeper = Script::default();
    let way_back = keeper.led_to(&start, &callback);
    let browser = Browser::start();
    let refused = |person: &Profile<'_>, url: &str| {
        assert_eq!(person.go(url), 401);
        let shown = person.shown();
        for why in ["You aren't signed in", "in another browser", "begin again"] {
            assert!(shown.text.contains(why), "{why}: {}", shown.text);
        }
        assert_eq!(person.cookie(SESSION), None);
        assert_eq!(
            person.cookie("danube_signin"),
            None,
            "it is worth nothing now"
        );
        sound(person);
    };

    let stranger = browser.profile("stranger");
    refused(&stranger, &way_back);
    // One with a sign-in of its own under way is none the better for it.
    let other = browser.profile("other");
    peer.order(&json!({"form": true}));
    other.go(&start);
    other.wait_for("[name=login]");
    refused(&other, &way_back);
    other.go(&start);
    refused(
        &other,
        &format!("{callback}?code=x&state={}", "s".repeat(43)),
    );
    // The page leads to a sign-in that works.
    sign_in(&other, "reader@example.org");
    assert!(other.shown().text.contains("reader"));

    // Nobody's trying took it from whose it is.
    peer.order(&json!({"form": false}));
    let way_back = keeper.led_to(&start, &callback);
    refused(&browser.profile("another"), &way_back);
    assert_eq!(keeper.get(&way_back).status, 200);
}

#[test]
fn who_cannot_be_signed_out_is_told_so_and_stays_signed_in_until_it_works() {
    if !root_or_skip("injecting errors into another process") {
        return;
    }
    let master = Master::start();
    let browser = Browser::start();
    let person = browser.profile("person");
    person.go(&format!("{}/login", master.address));
    person.fill("[name=key]", &master.key);
    person.click("button:text-is('Log in')");
    person.wait_for("h1:text-is('Jobs')");
    let before = session(&person, false);
    let files: Vec<PathBuf> = vec![master.dir.join("danube.db-wal")];
    let bad = Inject {
        calls: "pwrite64",
        what: "error=EROFS",
        files: &files,
        noted: None,
    }
    .into(&master);
    person.click("button:text-is('Log out')");
    person.wait_for("h1:text-is('You are still signed in')");
    let shown = person.shown();
    assert!(
        shown.text.contains("the database can't be used now"),
        "{}",
        shown.text
    );
    assert_eq!(session(&person, false), before, "the cookie says the same");
    assert!(opens(&master, &before));
    drop(bad);
    person.click("button:text-is('Log out')");
    person.wait_for("h1:text-is('Log in')");
    assert_eq!(person.cookie(SESSION), None);
    assert!(!opens(&master, &before));
    sound(&person);
}

/// Serves one page, with a policy that it breaks, to whoever asks for anything.
fn bad_page() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let page = "<!doctype html><title>bad</title><h1>Hello</h1>\
                    <script>document.title = 'run'</script>\
                    <script nonce=a>throw new Error('broken')</script>\
                    <img src=http://192.0.2.1/a.png><img src=https://elsewhere.example/b.png>";
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\
                 content-security-policy: script-src 'nonce-a'\r\n\r\n{page}",
                page.len()
            );
        }
    });
    address
}

#[test]
fn a_browser_tells_what_a_page_does_wrong_and_asks_no_other_machine() {
    let address = bad_page();
    let browser = Browser::start();
    let home = browser.home.path().to_owned();
    let one = browser.profile("one");
    assert_eq!(one.go(&address), 200);
    assert_eq!(one.shown().title, "bad", "the script wasn't run");
    let reported = one.reported();
    let has = |kind: &str, text: &str| {
        let mut all = reported.iter();
        all.any(|it| it.kind == kind && it.text.contains(text))
    };
    for (kind, text) in [
        ("csp", "script-src"),
        ("error", "broken"),
        ("console", "net::ERR_NAME_NOT_RESOLVED"),
        ("outside", "http://192.0.2.1/a.png"),
        ("outside", "https://elsewhere.example/b.png"),
    ] {
        assert!(has(kind, text), "{kind} {text}: {reported:?}");
    }
    assert!(reported.iter().all(|it| it.page.starts_with(&address)));
    assert_eq!(one.reported(), []);
    let picture = home.join("page.png");
    one.screenshot(&picture);
    assert!(std::fs::read(&picture).unwrap().starts_with(b"\x89PNG"));
    // Waits for all of its processes.
    drop(browser);
    assert!(!home.exists());
}
