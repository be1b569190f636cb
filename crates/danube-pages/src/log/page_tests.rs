//! The page of a log as it is rendered, by values that a hostile job could make.

use danube_api::{Hit, JobView};
use danube_model::Timestamp;
use serde_json::json;

use super::*;
use crate::{Page, Shell};

const HOSTILE: &str = "<script>alert('x')</script>\"&\u{202e}";

fn job(status: &str) -> JobView {
    serde_json::from_value(json!({
        "id": "0193-job", "short_id": "abcd1234", "kind": "pipeline", "pipeline": HOSTILE, "status": status,
        "trigger_type": "api", "trigger_ref": null, "submitted_by": "me", "attempt": 1,
        "created_at": "2026-01-31T12:00:00Z", "started_at": null, "finished_at": null,
        "duration_seconds": null, "exit_code": null, "reason": HOSTILE, "cancel_requested": false,
        "worker_id": null, "trace_id": "0", "log_bytes": 0, "log_complete": null,
    }))
    .unwrap()
}

fn rows(lines: std::ops::Range<u64>, text: &str) -> Vec<Row> {
    let mut terminal = Terminal::new();
    let row = |line: u64| {
        terminal.push(text.as_bytes());
        let at = LineAt {
            line,
            continues: false,
            offset: line * 10,
            time_us: Some(1_768_048_496_789_012 + line * 1_000_000),
            stream: Stream::Stderr,
        };
        terminal.end_line(at, 0)
    };
    lines.map(row).collect()
}

fn page(rows: Vec<Row>) -> LogPage {
    let first_line = rows.first().map_or(1, |it| it.line);
    let next_line = rows.last().map_or(1, |it| it.line + 1);
    LogPage {
        job: job("running"),
        log: LogView {
            job: "0193-job".to_owned(),
            short_id: "abcd1234".to_owned(),
            deleted_at: None,
            window: LogWindow {
                lines: 10_000_000,
                bytes: 1 << 30,
                start_us: Some(1_768_048_496_789_012),
                first_line,
                next_line,
                rows,
                ..LogWindow::default()
            },
            line: None,
            times: Times::Absolute,
            find: None,
        },
    }
}

fn html(page: &LogPage) -> String {
    let shell = Shell {
        firing: 0,
        base: "/ci".to_owned(),
        now: Timestamp::parse("2026-01-31T12:00:00Z").unwrap(),
        viewer: None,
        notice: None,
    };
    page.html(&shell).unwrap()
}

/// All that stands between `<` and `>`.
fn tags(html: &str) -> Vec<&str> {
    let parts = html.split('<').skip(1);
    parts.map(|it| it.split('>').next().unwrap()).collect()
}

#[test]
fn nothing_that_a_job_or_its_names_say_breaks_out() {
    let mut shown = page(rows(
        10..12,
        &format!("\u{1b}[31m{HOSTILE}\u{1b}]8;;javascript:alert(1)\u{7}x"),
    ));
    shown.log.window.folds = vec![LogFold {
        id: "1-s0".to_owned(),
        kind: FoldKind::Step,
        name: HOSTILE.to_owned(),
        status: Some("running".to_owned()),
        attempt: 1,
        start: 0,
        end: None,
        first_line: 1,
        end_line: None,
        is_open: false,
    }];
    shown.log.find = Some(Find {
        q: HOSTILE.to_owned(),
        hits: vec![Hit {
            line: 3,
            offset: 0,
            start: 0,
            end: 8,
            text: format!("{HOSTILE}\u{1b}[1m"),
        }],
        ..Find::default()
    });
    let html = html(&shown);
    let scripts = tags(&html)
        .into_iter()
        .filter(|it| it.starts_with("script"));
    let scripts: Vec<&str> = scripts.collect();
    assert_eq!(scripts.len(), 1, "only ours: {scripts:?}");
    for tag in tags(&html) {
        assert!(!tag.contains("style=") && !tag.contains(" on"), "{tag}");
        assert!(!tag.contains("javascript:"), "{tag}");
    }
    let lines = html.split("id=\"log-rows\"").nth(1).unwrap();
    let named = lines
        .matches("<span class=\"c\">&#60;U+202E&#62;</span>")
        .count();
    assert_eq!(named, 2);
    assert!(html.contains("<mark>&#60;script&#62;</mark>"));
}

#[test]
fn a_window_says_where_it_is_and_leads_on() {
    let mut shown = page(rows(601..901, "text"));
    let html_of = html(&shown);
    for part in [
        "601 to 900 of 10,000,000",
        r#"href="/ci/jobs/0193-job/log?from_line=1""#,
        r#"href="/ci/jobs/0193-job/log?from_line=301""#,
        r#"href="/ci/jobs/0193-job/log?from_line=901""#,
        r#"href="/ci/jobs/0193-job/log?end=1""#,
        r##"<div class="row err" id="L601"><a class="n" href="#L601">601</a><time title="2026-01-10 12:44:57.789 UTC">12:44:57.789</time><span class="x">text</span></div>"##,
        r#"href="/ci/api/v1/jobs/0193-job/logs" download="abcd1234.log""#,
    ] {
        assert!(html_of.contains(part), "{part}");
    }
    shown.log.times = Times::Delta;
    let html_of = html(&shown);
    assert!(html_of.contains(">+1.000</time>"));
    assert!(html_of.contains("from_line=901&#38;times=delta"));
    shown.log.window.lines = 900;
    assert!(!html(&shown).contains("Later"));
    let empty = html(&page(Vec::new()));
    assert!(empty.contains("of 10,000,000"));
}

#[test]
fn a_full_window_of_the_heaviest_rows_is_a_page_below_256_kib() {
    for text in [
        "",
        "<",
        "\u{1b}[31m<\u{1b}[32m>",
        "\u{202e}",
        "x".repeat(5_000).as_str(),
    ] {
        let many = rows(1..LINES_MAX + 1, &text.repeat(3_000 / text.len().max(1)));
        let mut weight = 0;
        let fitting = many.into_iter().take_while(|it| {
            weight += it.weight_bytes();
            weight <= WINDOW_BYTES_MAX
        });
        let html = html(&page(fitting.collect()));
        assert!(html.len() <= 256 * 1024, "{} bytes of {text:?}", html.len());
    }
}

#[test]
fn what_is_missing_is_shown_as_such() {
    let mut all = rows(1..3, "text");
    let truncated = Gap {
        from: 100,
        to: 100 + 2_048,
        lines: 1_000,
        reason: GapReason::Truncated,
    };
    let lost = Gap {
        lines: 0,
        reason: GapReason::Lost,
        ..truncated
    };
    all.push(Row::gap(3, truncated));
    all.push(Row::gap(1_003, lost));
    all[1].left_out_bytes = 5_000;
    let html = html(&page(all));
    assert!(html.contains("2.0 KiB, 1,000 lines, left out here: the log grew past its size limit"));
    assert!(html.contains("2.0 KiB missing here: lost to a fault"));
    assert!(html.contains(
        r#"href="/ci/api/v1/jobs/0193-job/logs?from_line=2&amp;lines=1">4.9 KiB more</a>"#
    ));
}

#[test]
fn a_search_says_what_it_found_and_how_to_go_on() {
    let mut shown = page(rows(1..3, "text"));
    let hit = |line| Hit {
        line,
        offset: 0,
        start: 1,
        end: 2,
        text: "abc".to_owned(),
    };
    shown.log.find = Some(Find {
        q: "b c".to_owned(),
        ignores_case: true,
        hits: vec![hit(5), hit(5_000)],
        found: 1_234,
        is_finished: true,
        resume: Some(77),
        ..Find::default()
    });
    let html_of = html(&shown);
    for part in [
        "1,234 lines match.",
        r#"href="/ci/jobs/0193-job/log?from_line=1#L5">5</a> <span class="x">a<mark>b</mark>c</span>"#,
        r#"href="/ci/jobs/0193-job/log?from_line=4980#L5000""#,
        r#"href="/ci/jobs/0193-job/log?q=b%20c&#38;ignore_case=1&#38;from=77">More matches"#,
    ] {
        assert!(html_of.contains(part), "{part}");
    }
    assert!(
        !html_of.contains("data-live"),
        "it doesn't change under its reader"
    );
    shown.log.find = Some(Find {
        error: Some("the pattern is wrong".to_owned()),
        ..Find::default()
    });
    assert!(html(&shown).contains(r#"<p role="alert">the pattern is wrong</p>"#));
}
