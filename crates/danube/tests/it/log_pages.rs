//! The log of a job as pages show it: windows of it, its folds, what was cut, and what a search finds.

use serde_json::{Value, json};

use crate::master::{Answer, Master, id};
use crate::pages::page;

/// What a page's script asks for.
fn rows(master: &Master, job: &str, query: &str) -> Value {
    let answer = master.get(&format!("/jobs/{job}/log/rows?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

fn numbers(window: &Value) -> Vec<u64> {
    let rows = window["rows"].as_array().expect("rows");
    rows.iter().map(|it| it["line"].as_u64().unwrap()).collect()
}

fn log(master: &Master, job: &str, query: &str) -> Answer {
    master.get(&format!("/jobs/{job}/log?{query}"))
}

#[test]
fn a_log_is_read_by_windows_from_any_line() {
    let master = Master::start();
    let job = master.run("seq 1 20000");
    master.ended(&job);
    let last = page(&log(&master, &job, ""));
    for text in [
        "19,701 to 20,000 of 20,000",
        "id=\"L20000\"",
        "<a class=\"n\" href=\"#L19701\">19701</a>",
        "rel=\"prev\"",
        "download=\"",
    ] {
        assert!(last.contains(text), "{text}");
    }
    assert!(!last.contains("id=\"L19700\""));
    let middle = page(&log(&master, &job, "from_line=7000&times=relative"));
    assert!(middle.contains("7,000 to 7,299 of 20,000") && middle.contains(">+"));
    assert_eq!(
        numbers(&rows(&master, &job, "from_line=123&lines=3")),
        [123, 124, 125]
    );
    let before = rows(&master, &job, "before_line=123&lines=2");
    assert_eq!(numbers(&before), [121, 122]);
    assert_eq!(before["rows"][0]["runs"], json!(["121"]));
    assert_eq!(before["lines"], 20_000);
    assert_eq!(before["has_ended"], true);
    assert_eq!(numbers(&rows(&master, &job, "end=1&lines=1")), [20_000]);
    // The line that holds a byte: where a step or an error leads.
    assert_eq!(numbers(&rows(&master, &job, "offset=10&lines=2")), [6, 7]);
    let there = page(&log(&master, &job, "offset=11"));
    assert!(there.contains("id=\"L6\"") && !there.contains("id=\"L5\""));
    // And back to what wrote it.
    let back = format!("/jobs/{job}/trace?log=10");
    assert!(there.contains(&format!("href=\"{back}\"")), "{there}");
    let trace = page(&master.get(&back));
    assert!(trace.contains("aria-current=\"true\""), "{trace}");
    for wrong in [
        "lines=0",
        "lines=501",
        "from_line=x",
        "from_line=1&before_line=2",
    ] {
        assert_eq!(
            master.get(&format!("/jobs/{job}/log/rows?{wrong}")).status,
            400,
            "{wrong}"
        );
    }
    assert_eq!(master.get("/jobs/none/log").status, 404);
    let stranger = master.request(
        "GET",
        &format!("/jobs/{job}/log/rows"),
        &[("accept", "application/json")],
        b"",
    );
    assert_eq!(stranger.status, 401);
}

#[test]
fn what_a_job_writes_is_shown_as_on_a_terminal_and_does_no_more() {
    let master = Master::start();
    let job = master.run(
        r#"printf '</span><script>alert(1)</script><img src=x onerror="alert(2)">\n'
        printf '\033[1;31mred\033[0m \033]0;title\007\033]8;;javascript:alert(3)\007link\033]8;;\007\n'
        printf '10%%\r50%%\r100%%\n\033[2J\033[5A\033[10;10Hmoved\n'
        printf '\342\200\256turned \000\377\n'
        head -c 1048576 /dev/zero | tr '\0' x; printf '\nafter\n'"#,
    );
    master.ended(&job);
    let text = page(&log(&master, &job, ""));
    assert!(text.len() < 256 * 1024, "{} bytes", text.len());
    for shown in [
        "<span class=\"x\">&#60;/span&#62;&#60;script&#62;alert(1)&#60;/script&#62;",
        "<span class=\"f1 b\">red</span> link</span>",
        "<span class=\"x\">100%</span>",
        "<span class=\"x\">moved</span>",
        "<span class=\"c\">&#60;U+202E&#62;</span>turned <span class=\"c\">&#60;U+0000&#62;</span>\u{fffd}</span>",
        "?from_line=6&amp;lines=1\">1020 KiB more</a>",
        "<span class=\"x\">after</span>",
    ] {
        assert!(text.contains(shown), "{shown}");
    }
    assert!(!text.contains(|it: char| it.is_control() && it != '\n'));
}

#[test]
fn the_failed_step_is_shown_open_and_how_it_ended_comes_first() {
    let master = Master::start();
    let job = master.submit(&json!({"spec": {"name": "web", "steps": [
        {"name": "build", "run": "seq 1 20; echo ::group::Link; echo ld; echo ::endgroup::"},
        {"name": "test", "run": "echo one; echo two >&2; exit 3"},
    ]}}));
    let steps = ["build", "test"].map(|it| format!("<span class=\"name\">{it}</span>"));
    let job = id(&master.ended(&id(&job)));
    let text = page(&log(&master, &job, ""));
    let fold = |name: &str| {
        let at = text
            .find(name)
            .unwrap_or_else(|| panic!("{name} in {text}"));
        let start = text[..at].rfind("<details").expect("a fold");
        text[start..at].to_owned()
    };
    assert!(!fold(&steps[0]).contains(" open"), "{}", fold(&steps[0]));
    assert!(fold(&steps[1]).contains(" open"), "{}", fold(&steps[1]));
    assert!(text.contains("<span class=\"name\">Link</span>"));
    assert!(text.contains("row err\""), "standard error is told apart");
    let asked = page(&log(&master, &job, "from_line=3"));
    assert!(asked.contains("step\" id=\"fold-1-s0\" open"), "{asked}");
    let window = rows(&master, &job, "from_line=1");
    let folds = window["folds"].as_array().unwrap();
    let seen: Vec<_> = folds
        .iter()
        .map(|it| (&it["name"], &it["first_line"], &it["is_open"]))
        .collect();
    assert_eq!(seen[0], (&json!("build"), &json!(1), &json!(false)));
    assert_eq!(seen[1], (&json!("test"), &json!(24), &json!(true)));
}

#[test]
fn what_was_cut_is_shown_where_it_is_missing() {
    let master = Master::with(&["--log-head", "100KiB", "--log-total", "200KiB"]);
    let job = master.run("seq 1 100000");
    master.ended(&job);
    let head = rows(&master, &job, "from_line=1&lines=1");
    assert_eq!(head["lines"], 100_000);
    let middle = page(&log(&master, &job, "from_line=50000"));
    assert!(
        middle.contains("left out here: the log grew past its size limit"),
        "{middle}"
    );
    let last = page(&log(&master, &job, "end=1"));
    assert!(last.contains("id=\"L100000\"") && last.contains("<span class=\"x\">100000</span>"));
}

#[test]
fn a_search_finds_in_the_whole_log_and_leads_to_the_lines() {
    let master = Master::start();
    let job = master.run("seq 1 20000");
    master.ended(&job);
    let found = page(&log(&master, &job, "q=%5E1234%5B0-9%5D%24"));
    assert!(found.contains("10 lines match."), "{found}");
    assert!(
        found.contains(
            "log?from_line=12320#L12340\">12340</a> <span class=\"x\"><mark>12340</mark></span>"
        ),
        "{found}"
    );
    let many = page(&log(&master, &job, "q=9&literal=1&ignore_case=1"));
    assert!(
        many.contains("lines match") && many.contains("More matches"),
        "{many}"
    );
    let more = many.split("rel=\"next\" href=\"").nth(1).expect("more");
    let more = more.split('"').next().unwrap().replace("&#38;", "&");
    assert!(page(&master.get(&more)).contains("First matches"));
    let wrong = page(&log(&master, &job, "q=%28%28"));
    assert!(
        wrong.contains("role=\"alert\"") && wrong.contains("unclosed group"),
        "{wrong}"
    );
}
