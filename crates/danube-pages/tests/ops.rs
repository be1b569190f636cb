//! The pages of operation, as a browser gets them.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;

use danube_api::{
    AlertView, CheckView, HealView, HealthReport, HistoryHeld, PanelData, PanelLine, PanelQuery,
    PanelView,
};
use danube_model::Timestamp;
use danube_pages::alerts::{AlertRule, AlertsPage, RunbookPage};
use danube_pages::checks::{CheckHistory, HealthPage};
use danube_pages::dashboards::{Dashboard, DashboardPanel, DashboardsPage, JobExemplar};
use danube_pages::signals::{SignalRow, SignalsPage};
use danube_pages::{Page, Shell, Tab, Viewer};

const BEGIN: f64 = 1_769_860_800.0;
const HOSTILE: &str = "<script>alert('x')</script>\"&";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn shell() -> Shell {
    Shell {
        base: "/ci".to_owned(),
        now: at("2026-01-31T13:00:00Z"),
        viewer: Some(Viewer {
            name: "root".to_owned(),
            csrf: "token".to_owned(),
            is_admin: true,
            reads_server: true,
        }),
        notice: None,
        firing: 0,
    }
}

/// The page, which holds nothing that its policy forbids and nothing from outside as markup.
#[track_caller]
fn html(page: &impl Page) -> String {
    let text = page.html(&shell()).unwrap();
    for wrong in [
        " style=",
        "<style",
        " onload=",
        "javascript:",
        "<script>",
        "{{",
        "alert('x')\"",
    ] {
        assert!(!text.contains(wrong), "{wrong} in {text}");
    }
    // Whatever is referred to by its id is there, once.
    let mut ids: Vec<&str> = values(&text, " id=\"");
    for id in values(&text, " aria-labelledby=\"") {
        for id in id.split(' ') {
            assert!(ids.contains(&id), "no {id} in {text}");
        }
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id is there twice");
    for link in values(&text, " href=\"") {
        assert!(link.starts_with("/ci/") || link.starts_with('#'), "{link}");
    }
    text
}

fn values<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    let parts = text.split(before).skip(1);
    parts.filter_map(|it| it.split('"').next()).collect()
}

/// The page without its tags, and with one space between words.
fn words(html: &str) -> String {
    let mut text = String::new();
    for part in html.split('<') {
        text.push(' ');
        text.push_str(part.split_once('>').map_or(part, |(_, it)| it));
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn panel(name: &str, state: &str, series: Vec<PanelLine>) -> DashboardPanel {
    DashboardPanel {
        data: PanelData {
            panel: PanelView {
                name: name.to_owned(),
                dashboard: "errors".to_owned(),
                title: format!("Title of {name}"),
                description: "What it says.".to_owned(),
                unit: "seconds".to_owned(),
                state: state.to_owned(),
                waits_for: (state != "live").then(|| "Kubernetes".to_owned()),
                queries: vec![PanelQuery {
                    legend: "{{pipeline}}".to_owned(),
                    promql: "sum by (pipeline) (x > 0)".to_owned(),
                }],
            },
            from: "2026-01-31T12:00:00Z".to_owned(),
            to: "2026-01-31T13:00:00Z".to_owned(),
            step_seconds: 30,
            window_seconds: 60,
            series,
        },
        exemplars: Vec::new(),
    }
}

fn dashboards(panels: Vec<DashboardPanel>) -> DashboardsPage {
    let of = |name: &str, title: &str| Dashboard {
        name: name.to_owned(),
        title: title.to_owned(),
    };
    DashboardsPage {
        dashboards: vec![of("job_overview", "Job overview"), of("errors", "Errors")],
        dashboard: "errors".to_owned(),
        range: "6h".to_owned(),
        panels,
        history: HistoryHeld {
            series: 120,
            bytes: 3 << 20,
            samples: 240,
            left_out: 0,
        },
    }
}

fn failing(pipeline: &str) -> PanelLine {
    PanelLine {
        legend: pipeline.to_owned(),
        labels: BTreeMap::from([("pipeline".to_owned(), pipeline.to_owned())]),
        points: vec![(BEGIN + 3_540.0, 1.5), (BEGIN + 3_570.0, 2.5)],
    }
}

#[test]
fn a_dashboard_draws_its_panels_and_leads_on() {
    let mut live = panel("waits", "live", vec![failing("a"), failing(HOSTILE)]);
    live.exemplars = vec![JobExemplar {
        value: 2.5,
        at: at("2026-01-31T12:58:00Z"),
        job_id: "0190".to_owned(),
        short_id: "abc".to_owned(),
        pipeline: HOSTILE.to_owned(),
    }];
    let page = dashboards(vec![live, panel("pods", "not_yet", Vec::new())]);
    let text = html(&page);
    for part in [
        "href=\"/ci/dashboards/job_overview?range=6h\"",
        "href=\"/ci/dashboards/errors\"",
        "href=\"/ci/dashboards/errors?range=24h\"",
        "href=\"/ci/?pipeline=a\"",
        "href=\"/ci/jobs/0190\"",
        "<g class=\"l1\">",
        "data-every=\"30\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let words = words(&text);
    for part in [
        "Not yet : it waits for Kubernetes.",
        "sum by (pipeline) (x &#62; 0)",
        "Jobs behind it: 2.5 s",
        "12:59:30 2.5 s 2.5 s",
        "120 series in 3.0 MiB of memory",
    ] {
        assert!(words.contains(part), "{part} in {words}");
    }
    let json = serde_json::to_value(&page).unwrap();
    assert_eq!(json["panels"][0]["name"], "waits");
    assert_eq!(json["panels"][0]["exemplars"][0]["job_id"], "0190");
}

#[test]
fn a_dashboard_without_values_says_so() {
    let page = dashboards(vec![panel("waits", "live", Vec::new())]);
    assert!(words(&html(&page)).contains("No values in this time."));
}

fn rule(name: &str) -> AlertRule {
    AlertRule {
        name: name.to_owned(),
        severity: "critical".to_owned(),
        summary: "Most jobs failed".to_owned(),
        description: "Something is broken.".to_owned(),
        holds_for_seconds: 300.0,
        promql: "x > 0.5".to_owned(),
        waits_for: None,
        is_seen_from_outside: false,
    }
}

fn firing(state: &str) -> AlertView {
    AlertView {
        name: "job_failures".to_owned(),
        severity: "critical".to_owned(),
        state: state.to_owned(),
        since: "2026-01-31T12:30:00Z".to_owned(),
        labels: BTreeMap::from([("queue".to_owned(), HOSTILE.to_owned())]),
        value: Some(0.75),
        unit: "ratio".to_owned(),
        summary: "Most jobs failed".to_owned(),
        description: "Something is broken.".to_owned(),
        runbook: "docs/runbooks/job_failures.md".to_owned(),
        promql: "x > 0.5".to_owned(),
    }
}

#[test]
fn what_fires_says_since_when_why_and_what_to_do() {
    let page = AlertsPage {
        alerts: vec![firing("firing"), firing("pending")],
        rules: vec![rule("job_failures")],
    };
    assert_eq!(page.title(), "Alerts: 1 firing");
    let text = html(&page);
    assert!(text.contains("href=\"/ci/alerts/job_failures\""));
    let words = words(&text);
    assert!(
        words.contains("critical firing since 30 min ago , now 75% queue="),
        "{words}"
    );
    assert!(words.contains("1 pending"), "{words}");
}

#[test]
fn where_nothing_fires_the_watched_rules_are_counted() {
    let outside = AlertRule {
        is_seen_from_outside: true,
        ..rule("master_down")
    };
    let later = AlertRule {
        waits_for: Some("Kubernetes".to_owned()),
        ..rule("k8s_unreachable")
    };
    let page = AlertsPage {
        alerts: Vec::new(),
        rules: vec![rule("job_failures"), outside, later],
    };
    let words = words(&html(&page));
    for part in [
        "Nothing fires 1 rule is watched",
        "Told by Prometheus alone.",
        "Not yet: it waits for Kubernetes.",
        "5 min",
    ] {
        assert!(words.contains(part), "{part} in {words}");
    }
}

#[test]
fn a_runbook_is_a_page_whose_links_lead_to_others() {
    let page = RunbookPage {
        rule: rule("job_failures"),
        alerts: vec![firing("firing")],
        text: "# Title\n\nSee [disk](disk_nearly_full.md), [api](../api.md) or `x<y`.\n\n\
               ## Look\n\n```sh\ndanube jobs\n```\n\n- One\n\n| a |\n| --- |\n| b |\n"
            .to_owned(),
    };
    let text = html(&page);
    for part in [
        "<a href=\"/ci/alerts/disk_nearly_full\">disk</a>, api or <code>x&#60;y</code>.",
        "<h2>Look</h2>",
        ">danube jobs</pre>",
        "<li>One</li>",
        "<th scope=\"col\">a</th>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("Title<"), "the summary is the title");
}

fn checked(name: &str, status: &str) -> CheckView {
    CheckView {
        name: name.to_owned(),
        status: status.to_owned(),
        message: String::new(),
        gates_readiness: true,
        consecutive_failures: 0,
        checked_at: Some(at("2026-01-31T12:59:50Z")),
        age_seconds: Some(10.0),
        duration_seconds: Some(0.012),
        period_seconds: 2.0,
        deadline_seconds: 2.0,
        healing: None,
    }
}

#[test]
fn health_shows_trouble_first_with_its_history_and_what_was_tried() {
    let failed = CheckView {
        message: HOSTILE.to_owned(),
        consecutive_failures: 4,
        healing: Some(HealView {
            action: "reap".to_owned(),
            hands_off: false,
            last_result: Some("success".to_owned()),
            last_detail: Some("3 logs went".to_owned()),
            last_at: Some(at("2026-01-31T12:58:00Z")),
        }),
        ..checked("disk", "failed")
    };
    let page = HealthPage {
        report: HealthReport {
            status: "not_ready".to_owned(),
            is_stopping: false,
            healing: "auto".to_owned(),
            checks: vec![
                checked("database", "ok"),
                failed,
                checked("k8s", "disabled"),
            ],
            timestamp: at("2026-01-31T13:00:00Z"),
        },
        histories: vec![CheckHistory {
            check: "disk".to_owned(),
            points: vec![(BEGIN, 0.0), (BEGIN + 3_590.0, 4.0)],
        }],
        from: at("2026-01-30T13:00:00Z"),
        to: at("2026-01-31T13:00:00Z"),
    };
    assert_eq!(page.title(), "Health: not ready");
    let text = html(&page);
    assert!(text.contains("class=\"badly\""), "{text}");
    let words = words(&text);
    let places = ["disk failed", "database ok", "k8s disabled"].map(|it| words.find(it).unwrap());
    assert!(places.is_sorted(), "{words}");
    for part in [
        "Not well 4 times in a row.",
        "reap : success 2 min ago — 3 logs went",
        "10 s ago , took 12 ms of 2.0 s",
        "The last day: in trouble 12:45:00 to 13:00:00.",
    ] {
        assert!(words.contains(part), "{part} in {words}");
    }
}

fn signals() -> Vec<SignalRow> {
    let row = |kind: &str, name: &str, help: &str| SignalRow {
        kind: kind.to_owned(),
        name: name.to_owned(),
        help: help.to_owned(),
        ..SignalRow::default()
    };
    let metric = SignalRow {
        other_name: Some("danube.jobs".to_owned()),
        sort: "counter".to_owned(),
        labels: vec!["pipeline *sparse*".to_owned()],
        unit: "{job}".to_owned(),
        ..row("metric", "danube_jobs_total", "Jobs that ended.")
    };
    vec![
        row("event", "job_failed", "A job ended in failure."),
        metric,
        row("alert", "job_failures", "More than half failed."),
    ]
}

#[test]
fn signals_are_found_by_all_their_words() {
    for (query, kind, names) in [
        ("", "", "job_failed danube_jobs_total job_failures"),
        ("JOB ended", "", "job_failed danube_jobs_total"),
        ("job ended", "metric", "danube_jobs_total"),
        ("pipeline counter", "", "danube_jobs_total"),
        ("danube.jobs", "", "danube_jobs_total"),
        ("nothing", "", ""),
    ] {
        let page = SignalsPage::search(signals(), query, kind);
        let found: Vec<&str> = page.rows.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(found.join(" "), names, "{query} {kind}");
        html(&page);
    }
    let page = SignalsPage::search(signals(), HOSTILE, "");
    assert!(words(&html(&page)).contains("0 of 3 signals"));
    let page = SignalsPage::search(signals(), "failures", "");
    let text = html(&page);
    assert!(text.contains("href=\"/ci/alerts/job_failures\""));
    assert!(words(&text).contains("1 of 3 signals"));
}

#[test]
fn the_navigation_shows_what_the_viewer_may_see_and_what_fires() {
    let page = SignalsPage::search(signals(), "", "");
    let viewer = Viewer {
        reads_server: false,
        is_admin: false,
        ..shell().viewer.unwrap()
    };
    let few = Shell {
        viewer: Some(viewer),
        firing: 2,
        ..shell()
    };
    let seen = [
        Tab::Jobs,
        Tab::Pipelines,
        Tab::Secrets,
        Tab::Webhooks,
        Tab::Signals,
    ];
    assert_eq!(few.tabs(), seen);
    let all = Shell {
        firing: 2,
        ..shell()
    };
    assert!(words(&page.html(&all).unwrap()).contains("Alerts 2 firing Health"));
}
