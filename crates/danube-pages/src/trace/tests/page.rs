//! What the page of a trace says.

use danube_api::JobView;
use danube_model::Timestamp;
use serde_json::json;

use super::super::*;
use crate::{Page, Shell};

const BEGIN: u64 = 1_768_048_496_789_000_000;
const MILLI: u64 = 1_000_000;

fn job(status: &str) -> JobView {
    serde_json::from_value(json!({
        "id": "0190a1b2-0000-7000-8000-000000000001", "short_id": "vnftrga6", "kind": "pipeline",
        "pipeline": "<b>build", "status": status, "trigger_type": "api", "trigger_ref": null,
        "submitted_by": "me", "attempt": 1, "created_at": "2026-01-10T12:34:56.789Z",
        "started_at": null, "finished_at": null, "duration_seconds": 3.0, "exit_code": 1,
        "reason": null, "cancel_requested": false, "worker_id": "w", "trace_id": "ab",
        "log_bytes": 1, "log_complete": true,
    }))
    .unwrap()
}

fn span(id: &str, parent: &str, name: &str, (from, to): (u64, u64)) -> Span {
    Span {
        id: id.to_owned(),
        parent: parent.to_owned(),
        name: name.to_owned(),
        start_nanos: BEGIN + from * MILLI,
        end_nanos: BEGIN + to * MILLI,
        ..Span::default()
    }
}

fn spans() -> Vec<Span> {
    let mut all = vec![
        span("01", "", "Job vnftrga6", (0, 100)),
        span("02", "01", "Execute step test", (0, 90)),
        span("03", "02", "<script>alert(1)</script>", (10, 20)),
    ];
    all[0].queue_nanos = 5 * MILLI;
    all[1].has_failed = true;
    all[1].log = Some((4_000, Some(9_000)));
    all[2].service = "\"pytest'".to_owned();
    all
}

fn page(ask: TraceAsk) -> TracePage {
    TracePage::new(job("failure"), ask, Some(&spans()), |it| Details {
        kind: "internal".to_owned(),
        message: "exit code <7>".to_owned(),
        attributes: vec![Attribute::new("name", &it.name)],
        events: vec![Event {
            at_nanos: it.start_nanos + 2 * MILLI,
            name: "host_result".to_owned(),
            attributes: vec![Attribute::new("ansible.host", "web1")],
        }],
        links: vec![Link {
            trace: "cd".repeat(16),
            span: "99".to_owned(),
            is_here: false,
        }],
        ..Details::default()
    })
}

fn html(page: &TracePage) -> String {
    let shell = Shell {
        firing: 0,
        base: "/ci".to_owned(),
        now: Timestamp::from_millis(0),
        viewer: None,
        notice: None,
    };
    page.html(&shell).unwrap()
}

fn asks(span: &str) -> TraceAsk {
    TraceAsk {
        span: span.to_owned(),
        ..TraceAsk::default()
    }
}

#[test]
fn a_trace_is_a_table_of_links_and_bars_with_nothing_inline() {
    let text = html(&page(TraceAsk::default()));
    assert!(text.contains("&#60;script&#62;alert(1)"), "{text}");
    assert!(text.contains("&#60;b&#62;build"));
    for never in ["<script>", "style=", "onclick", "<b>build", "NaN", "inf%"] {
        assert!(!text.contains(never), "{never}");
    }
    for once in [
        "href=\"?span=02#span\"",
        "href=\"/ci/jobs/0190a1b2-0000-7000-8000-000000000001/log?offset=4000\"",
        "<i class=\"name\">Waited in the queue</i>",
        "<rect x=\"4.76%\" y=\"2\" width=\"85.71%\" height=\"10\">",
    ] {
        assert_eq!(text.matches(once).count(), 1, "{once}: {text}");
    }
    assert!(!text.contains("id=\"span\""));
    assert!(page(TraceAsk::default()).live().is_none());
}

#[test]
fn a_span_s_details_lead_to_its_log_its_parent_and_what_is_below_it() {
    let text = html(&page(asks("03")));
    let details = text.split("id=\"span\"").nth(1).unwrap();
    let details = details.split("</section>").next().unwrap();
    for said in [
        "2026-01-10 12:34:56.799000 UTC",
        "/ci/jobs/0190a1b2-0000-7000-8000-000000000001/log?offset=4000\">Log of Execute step test",
        "/ci/api/v1/jobs/0190a1b2-0000-7000-8000-000000000001/logs?around=03",
        "href=\"?span=02#span\">Execute step test",
        "href=\"?only=below&span=03\"",
        "<td class=\"number\">+2.0 ms</td>",
        "web1",
    ] {
        assert!(details.contains(said), "{said}: {details}");
    }
    assert!(text.contains("data-level=\"3\" aria-current=\"true\""));
    let failed = html(&page(asks("02")));
    assert!(failed.contains("exit code &#60;7&#62;"));
    assert!(failed.contains(">Its log</a>"));
}

#[test]
fn a_place_in_the_log_leads_to_its_step() {
    let at = |log| TraceAsk {
        log: Some(log),
        ..TraceAsk::default()
    };
    assert_eq!(page(at(5_000)).selected.unwrap().id, "02");
    let text = html(&page(at(9_000)));
    assert!(text.contains("No step of this trace wrote that part of the log."));
    let text = html(&page(asks("ff")));
    assert!(text.contains("This trace has no span <code>ff</code>."));
}

#[test]
fn a_filter_stays_in_the_addresses_and_says_when_nothing_is_like_that() {
    let failed = |status: &str, all: &[Span]| {
        let ask = TraceAsk {
            only: Only::Failed,
            ..TraceAsk::default()
        };
        TracePage::new(job(status), ask, Some(all), |_| Details::default())
    };
    let text = html(&failed("failure", &spans()));
    assert!(text.contains("href=\"?only=failed&#38;span=02#span\""));
    assert!(!text.contains("span=03"));
    assert!(text.contains("href=\"?only=failed\" aria-current=\"true\""));
    let text = html(&failed("running", &spans()[..1]));
    assert!(text.contains("No span is like that."));
    assert!(text.contains("data-live=\"/ci/live?job="));
}

#[test]
fn a_trace_that_was_deleted_says_so() {
    let page = TracePage::new(job("success"), asks("01"), None, |_| Details::default());
    assert!(html(&page).contains("The trace was deleted"));
}

#[test]
fn programs_get_the_rows_and_the_details() {
    let value = serde_json::to_value(page(asks("02"))).unwrap();
    assert_eq!(value["waterfall"]["rows"][0]["kind"], "queue");
    assert_eq!(value["waterfall"]["rows"][2]["took_nanos"], 90_000_000);
    assert_eq!(value["selected"]["log"]["offset"], 4_000);
    assert_eq!(value["ask"]["only"], "all");
}

#[test]
fn long_values_are_cut_between_characters() {
    let cut = Attribute::new("k", &"ü".repeat(VALUE_BYTES_MAX)).value;
    assert!(cut.ends_with('…') && cut.len() <= VALUE_BYTES_MAX + '…'.len_utf8());
}
