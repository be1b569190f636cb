//! The log view in Chromium: a window over a log of any length, links to lines, search, follow.

use serde_json::json;

use super::pages::{by_key, sound};
use super::{Browser, Profile};
use crate::master::{DEADLINE, Master};
use crate::processes::{release, until};

/// Lines of the long log, where `DANUBE_LOG_LINES` says nothing else (`make log-view` says ten million).
const LINES_DEFAULT: u64 = 200_000;

/// Elements that the page holds of a log at most.
const ROWS_MAX: u64 = 2_000;

/// Bytes of the log that are sent until it is open.
const SENT_BYTES_MAX: u64 = 256 * 1024;

/// Prints 300 lines and `begin`, and 300 more once it is released.
const TWICE: &str = "trap 'go=1' USR1; seq 1 300; echo begin; until [ -n \"${go:-}\" ]; do sleep 0.05; done; seq 301 600; echo end";

/// The line that a reader is at.
const PLACE: &str = "document.querySelector('.log-state input').value";

fn rows(person: &Profile<'_>) -> u64 {
    let count = person.run("document.querySelectorAll('#log-rows > *').length");
    count.as_u64().expect("a count")
}

/// Waits until this script is true in the page.
#[track_caller]
fn until_true(person: &Profile<'_>, script: &str) {
    until(script, DEADLINE, || {
        (person.run(script) == true).then_some(())
    });
}

#[test]
fn a_log_of_any_length_is_moved_through_and_searched_with_few_rows_in_the_page() {
    let lines =
        std::env::var("DANUBE_LOG_LINES").map_or(LINES_DEFAULT, |it| it.parse().expect("a number"));
    let master = Master::with(&["--log-head", "2GiB", "--log-total", "4GiB"]);
    let job = master.run(&format!(
        "awk 'BEGIN {{ for (i = 1; i <= {lines}; i++) printf \"line %d of a log that is as long as it is, with some words to look for\\n\", i }}'"
    ));
    master.ended(&job);
    let browser = Browser::start();
    let person = browser.profile("reader");
    by_key(&person, &master);
    person.go(&format!("{}/jobs/{job}/log", master.address));
    person.wait_for(&format!("#L{lines}"));
    let sent = person.run(
        "performance.getEntries().filter((it) => it.name.includes('/log')).reduce((sum, it) => sum + (it.encodedBodySize ?? 0), 0)",
    );
    assert!(sent.as_u64().expect("bytes") <= SENT_BYTES_MAX, "{sent}");
    assert!(rows(&person) <= ROWS_MAX);

    // A link to lines, anywhere.
    let middle = lines / 2;
    person.run(&format!("location.hash = '#L{middle}-{}'", middle + 10));
    person.wait_for(&format!("#L{middle}.chosen"));
    assert_eq!(
        person.run("document.querySelectorAll('#log-rows .chosen').length"),
        11
    );
    let trace = person.run("document.getElementById('log-trace').search");
    assert!(trace.as_str().unwrap().starts_with("?log="), "{trace}");
    let shown = person.run(&format!("document.getElementById('L{middle}').textContent"));
    assert!(
        shown
            .as_str()
            .unwrap()
            .contains(&format!("line {middle} of a log")),
        "{shown}"
    );
    // As far as a wheel goes, again and again; what comes next is there a moment later.
    for _ in 0..30 {
        let before = person.run(PLACE);
        until("the reader is further down", DEADLINE, || {
            person.run("(() => { const it = document.getElementById('log-rows'); it.scrollTop += 20 * it.clientHeight; })()");
            (person.run(PLACE) != before).then_some(())
        });
        assert!(rows(&person) <= ROWS_MAX, "{}", rows(&person));
    }

    // All of it is searched, wherever the reader is.
    person.run("document.getElementById('log-find').reset()");
    person.fill("#log-find [name=q]", &format!("line (7|{}) of", lines - 7));
    person.click("button:text-is('Search')");
    person.wait_for(&format!("#L{}.found", lines - 7));
    person.wait_for(".find-state:has-text('2 of 2')");
    person.click("button:text-is('Next')");
    person.wait_for("#L7.found");
    person.wait_for(".find-state:has-text('1 of 2')");
    person.fill("#log-find [name=q]", "(");
    person.click("button:text-is('Search')");
    person.wait_for(".find-state:has-text('unclosed group')");
    assert!(rows(&person) <= ROWS_MAX);
    sound(&person);
}

#[test]
fn following_stops_when_the_reader_scrolls_up_and_links_hold_while_it_runs_and_after() {
    let master = Master::start();
    let browser = Browser::start();
    let person = browser.profile_with(
        "reader",
        &json!({"viewport": {"width": 1000, "height": 700}}),
    );
    by_key(&person, &master);
    let job = master.run(TWICE);
    master.until_log(&job, "begin\n");
    let page = format!("{}/jobs/{job}/log", master.address);
    person.go(&page);
    person.wait_for("#L301");
    until_true(
        &person,
        "document.querySelector('.log-state [aria-pressed]').getAttribute('aria-pressed') === 'true'",
    );
    // Scrolled up, it stays there.
    person.run("document.getElementById('log-rows').scrollTop = 0");
    until_true(
        &person,
        "document.querySelector('.log-state [aria-pressed]').getAttribute('aria-pressed') === 'false'",
    );
    let top = person.run(PLACE);
    release(&job);
    person.wait_for("button:text-matches('^30[0-9] new lines$')");
    assert_eq!(
        person.run("document.querySelector('.log-state input').value"),
        top
    );
    person.click("button:text-matches('^30[0-9] new lines$')");
    person.wait_for("#L602");
    master.ended(&job);
    person.wait_for(".state .status.success");
    // Nothing more will come, so the page asks nobody to tell.
    until("nobody follows", DEADLINE, || {
        (master.metric("danube_sse_clients_active") == 0.0).then_some(())
    });
    // The same link before and after the end, with a click on a number and one with Shift.
    person.run("location.hash = '#L10'");
    assert_eq!(person.reload(), 200);
    person.wait_for("#L10.chosen");
    person.run("document.querySelector('#L12 .n').dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true, shiftKey: true}))");
    person.wait_for("#L12.chosen");
    assert_eq!(person.run("location.hash"), "#L10-12");
    assert_eq!(
        person.run("document.querySelector('#L10 .x').textContent"),
        "10"
    );
    sound(&person);
}
