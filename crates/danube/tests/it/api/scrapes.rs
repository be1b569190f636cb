//! What a scrape gives beside the numbers: the traces of what was slow, and less bytes
//! for those who ask.

use serde_json::json;

use crate::master::{Master, id};

const OPENMETRICS: &[(&str, &str)] = &[("accept", "application/openmetrics-text")];

/// The first two bytes of anything that gzip made.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Whether a bucket of `family` names this trace.
fn leads_to(text: &str, family: &str, trace: &str) -> bool {
    let bucket = format!("{family}_bucket{{");
    let exemplar = format!("# {{trace_id=\"{trace}\",");
    text.lines()
        .any(|line| line.starts_with(&bucket) && line.contains(&exemplar))
}

#[test]
fn slow_buckets_lead_to_the_trace_of_their_job_or_request() {
    let master = Master::start();
    let (kept, dropped) = ("ab".repeat(16), "cd".repeat(16));
    let job = id(&master.submit(
        &json!({"spec": {"name": "traced", "steps": [{"name": "say", "run": "echo hi"}]}}),
    ));
    let trace = master.ended(&job)["trace_id"].as_str().unwrap().to_owned();
    // What the end of a job moves is told after its followers hear of it.
    master.event(|it| it["event"] == "job_completed");
    let path = format!("/api/v1/jobs/{job}");
    let key = format!("Bearer {}", master.key);
    // The caller records the first and not the second.
    for (trace, flags) in [(&kept, "01"), (&dropped, "00")] {
        let parent = format!("00-{trace}-00f067aa0ba902b7-{flags}");
        let headers = [("traceparent", &*parent), ("authorization", &*key)];
        let answer = master.request("GET", &path, &headers, b"");
        assert_eq!(answer.status, 200);
    }
    let text = master.request("GET", "/metrics", OPENMETRICS, b"").text();
    for family in [
        "danube_job_queue_wait_seconds",
        "danube_step_duration_seconds",
        "danube_job_duration_seconds",
    ] {
        assert!(leads_to(&text, family, &trace), "{family} {trace}\n{text}");
    }
    let http = "danube_http_request_duration_seconds";
    assert!(leads_to(&text, http, &kept), "{text}");
    assert!(!text.contains(&dropped), "{text}");
    assert!(!master.get("/metrics").text().contains("trace_id"));
}

#[test]
fn a_scraper_that_takes_gzip_gets_it_in_both_formats_and_caches_can_tell() {
    let master = Master::start();
    let size = |headers: &[(&str, &str)], is_packed: bool| {
        let answer = master.request("GET", "/metrics", headers, b"");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("vary"), Some("accept, accept-encoding"));
        let encoding = is_packed.then_some("gzip");
        assert_eq!(answer.header("content-encoding"), encoding);
        assert_eq!(answer.body.starts_with(GZIP), is_packed);
        answer.body.len()
    };
    for accept in ["text/plain", "application/openmetrics-text"] {
        let plain = size(&[("accept", accept)], false);
        let packed = size(&[("accept", accept), ("accept-encoding", "gzip")], true);
        assert!(packed * 3 < plain, "{packed} of {plain}");
        size(
            &[("accept", accept), ("accept-encoding", "gzip;q=0")],
            false,
        );
    }
    // They are counted in the next one.
    assert!(master.metric("danube_telemetry_scrape_duration_seconds_count") >= 6.0);
    assert!(master.metric("danube_telemetry_series") > 100.0);
    assert!(master.metric("danube_telemetry_scrape_bytes") > 10_000.0);
}
