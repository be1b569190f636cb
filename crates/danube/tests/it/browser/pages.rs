//! The pages in Chromium: the way of a new user, what is followed live, what a hostile job can't do,
//! and what works without script.

use serde_json::json;

use super::front::Front;
use super::{Browser, Profile, Report};
use crate::auth::login_path;
use crate::master::{DEADLINE, Master, id};
use crate::processes::{HELD, release, until};

/// Nothing was refused by a page's policy, and no script failed.
#[track_caller]
pub(super) fn sound(profile: &Profile<'_>) {
    let bad: Vec<Report> = profile
        .reported()
        .into_iter()
        .filter(|it| it.kind != "console")
        .collect();
    assert_eq!(bad, []);
}

/// Signs in by the link that the server printed.
#[track_caller]
fn by_link(person: &Profile<'_>, master: &Master) {
    until("the login link", DEADLINE, || {
        master.stderr().contains("/login?token=").then_some(())
    });
    person.go(&format!("{}{}", master.address, login_path(master)));
    person.wait_for("h1:text-is('Jobs')");
}

/// Signs in by the form, with a key.
#[track_caller]
pub(super) fn by_key(person: &Profile<'_>, master: &Master) {
    by_key_at(person, &master.address, master);
}

#[track_caller]
fn by_key_at(person: &Profile<'_>, address: &str, master: &Master) {
    person.go(&format!("{address}/login"));
    person.fill("[name=key]", &master.key);
    person.click("button:text-is('Log in')");
    person.wait_for("h1:text-is('Jobs')");
}

#[test]
fn a_new_user_comes_from_the_link_to_a_green_job_and_a_red_one() {
    let master = Master::start();
    let browser = Browser::start();
    let person = browser.profile("new");
    by_link(&person, &master);
    // The empty page teaches the next step.
    let shown = person.shown();
    assert!(
        shown.text.contains("danube submit -- echo hello"),
        "{}",
        shown.text
    );
    // It comes by itself, without a reload.
    let green = master.run("echo hello");
    person.wait_for(".jobs .status.success");
    let red = master.submit(&json!({"spec": {"name": "web", "steps": [
        {"name": "build", "run": "echo built"},
        {"name": "test", "run": "echo 'error: it broke' >&2; exit 7"},
    ]}}));
    let red = id(&red);
    person.wait_for(".jobs .status.failure");
    person.click(&format!("a[href='/jobs/{green}']"));
    person.wait_for("text=hello");
    person.back();
    person.click(&format!("a[href='/jobs/{red}']"));
    person.wait_for("text=Why it failed");
    let shown = person.shown();
    for text in ["test", "exit code 7", "error: it broke"] {
        assert!(shown.text.contains(text), "{text} in {}", shown.text);
    }
    // On the first screen.
    let bottom =
        person.run("document.querySelector('#job-failure, .failure').getBoundingClientRect().top");
    assert!(bottom.as_f64().unwrap() < 700.0, "{bottom}");
    person.click("button:text-is('Run again')");
    person.wait_for("text=the job before");
    sound(&person);
}

#[test]
fn a_running_job_is_followed_through_a_restart_of_the_server() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    // The address stays, as behind a proxy.
    let front = Front::start();
    front.lead_to(&master.address);
    let browser = Browser::start();
    let person = browser.profile("follower");
    by_key_at(&person, &front.address, &master);
    let job = master.run(HELD);
    person.go(&format!("{}/jobs/{job}/log", front.address));
    person.wait_for("#log-rows >> text=begin");
    master.kill();
    person.wait_for("#stale:visible");
    let master = Master::start_in(&dir, &[]);
    front.lead_to(&master.address);
    // The server's own worker died with it: the job begins again, and the page hears of it.
    person.wait_for("body:has(#stale[hidden])");
    master.until_log(&job, "begin\nbegin\n");
    release(&job);
    master.ended(&job);
    person.wait_for(".state .status.success");
    sound_but_for_the_outage(&person);
}

/// What a browser complains of while nobody answers isn't the page's.
#[track_caller]
fn sound_but_for_the_outage(profile: &Profile<'_>) {
    let bad: Vec<Report> = profile
        .reported()
        .into_iter()
        .filter(|it| it.kind == "csp" || it.kind == "error")
        .collect();
    assert_eq!(bad, []);
}

#[test]
fn what_a_hostile_job_writes_runs_nothing_and_breaks_out_of_nothing() {
    let master = Master::start();
    let browser = Browser::start();
    let person = browser.profile("reader");
    by_key(&person, &master);
    let job = master.run(
        r#"printf '<script>window.hit=1</script><img src=x onerror="window.hit=2">\n</pre></section></main>\n'
        printf '\033]0;title\007\033]8;;javascript:window.hit=3\007link\033]8;;\007\033[2J\033[999;999Hmoved\n'
        printf '\342\200\256gnp.exe \342\201\246 end\n\377\376\000 bytes\n'
        printf '::group::<b>title</b>\ninside\n::endgroup::\n'
        head -c 1048576 /dev/zero | tr '\0' 'x'; echo; echo last"#,
    );
    master.ended(&job);
    for path in [
        format!("/jobs/{job}"),
        format!("/jobs/{job}/log?from_line=1"),
        format!("/jobs/{job}/trace"),
    ] {
        assert_eq!(
            person.go(&format!("{}{path}", master.address)),
            200,
            "{path}"
        );
        assert_eq!(person.run("window.hit === undefined"), true, "{path}");
        assert_eq!(
            person.run("document.querySelectorAll('main img, main script, main b title').length"),
            0
        );
        assert_eq!(person.run("document.querySelectorAll('main').length"), 1);
        assert_eq!(
            person.run("[...document.links].every((it) => it.protocol === 'http:')"),
            true
        );
        assert_eq!(
            person.run("document.documentElement.scrollWidth <= innerWidth"),
            true,
            "{path}"
        );
    }
    person.go(&format!("{}/jobs/{job}/log?from_line=1", master.address));
    let shown = person.shown();
    assert!(
        shown.text.contains("<script>window.hit=1</script>"),
        "{}",
        &shown.text[..2_000]
    );
    assert!(
        !shown.text.contains('\u{202e}') && !shown.title.contains("title"),
        "{}",
        shown.title
    );
    sound(&person);
}

#[test]
fn without_script_every_page_and_form_works() {
    let master = Master::start();
    let browser = Browser::start();
    let person = browser.profile_with(
        "plain",
        &json!({"javaScriptEnabled": false, "viewport": {"width": 360, "height": 740}}),
    );
    by_key(&person, &master);
    let job = master.run("seq 1 1000; exit 3");
    master.ended(&job);
    person.go(&format!("{}/?status=failure%2Ctimeout", master.address));
    person.click(&format!("a[href='/jobs/{job}']"));
    person.click("a:text-is('trace')");
    person.wait_for("h1:has-text('Trace of')");
    person.click("h1 a");
    person.click("a:text-is('on its own page')");
    person.fill("[name=q]", "^99.$");
    person.click("button:text-is('Search')");
    person.wait_for("h2:text-is('Matches')");
    let shown = person.shown();
    assert!(
        shown.text.contains("999") && shown.text.contains("10"),
        "{}",
        shown.text
    );
    person.fill("[name=from_line]", "500");
    person.click("button:text-is('Go')");
    person.wait_for("#L500");
    for tab in [
        "Pipelines",
        "Dashboards",
        "Alerts",
        "Health",
        "Workers",
        "Secrets",
        "API keys",
        "Webhooks",
        "Signals",
        "Jobs",
    ] {
        person.click(&format!("nav a:has-text('{tab}')"));
        person.wait_for(&format!("nav a[aria-current]:has-text('{tab}')"));
        let over = person.order("shown", json!({}));
        assert!(over["text"].as_str().unwrap().len() > 40, "{tab}");
    }
    person.go(&format!("{}/jobs/{job}", master.address));
    person.click("button:text-is('Run again')");
    person.wait_for("text=the job before");
    person.click("button:text-is('Log out')");
    person.wait_for("h1:text-is('Log in')");
    sound(&person);
}
