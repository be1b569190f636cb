//! Exemplars: from a slow bucket to the trace of a job or a request that was in it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::jobs;
use super::prometheus::Prometheus;
use super::python::{Sample, read_openmetrics, read_text};
use crate::master::Master;

/// Histograms whose observations are made within a trace.
const TRACED: &[&str] = &[
    "danube_job_duration_seconds",
    "danube_step_duration_seconds",
    "danube_job_queue_wait_seconds",
    "danube_http_request_duration_seconds",
];

/// OpenMetrics: names and values of an exemplar's labels together, in characters.
const EXEMPLAR_CHARACTERS_MAX: usize = 128;

fn scrape(master: &Master) -> Vec<Sample> {
    let accept = [("accept", "application/openmetrics-text")];
    read_openmetrics(&master.request("GET", "/metrics", &accept, b"").text())
}

/// The trace of an exemplar of the family `name` at `sample`.
fn trace(sample: &Sample) -> Option<String> {
    let (labels, value) = sample.exemplar.as_ref()?;
    let characters = |it: &(String, String)| it.0.chars().count() + it.1.chars().count();
    let count: usize = labels.iter().map(characters).sum();
    assert!(count <= EXEMPLAR_CHARACTERS_MAX, "{sample:?}");
    let names: Vec<&str> = labels.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(names, ["span_id", "trace_id"], "{sample:?}");
    let is_hex = |text: &str| text.bytes().all(|it| it.is_ascii_hexdigit()) && text != "0";
    let [(_, span), (_, trace)] = labels.as_slice() else {
        unreachable!("two labels");
    };
    assert_eq!((span.len(), trace.len()), (16, 32), "{sample:?}");
    assert!(is_hex(span) && is_hex(trace), "{sample:?}");
    // It is one of those that the bucket counts.
    let bound = sample.labels.iter().find(|it| it.0 == "le");
    let bound: f64 = bound.expect("buckets have exemplars").1.parse().unwrap();
    assert!(value.parse::<f64>().unwrap() <= bound, "{sample:?}");
    assert!(sample.number() >= 1.0, "{sample:?}");
    Some(trace.clone())
}

#[test]
fn a_bucket_leads_to_the_trace_of_a_job_that_was_in_it() {
    let master = Master::start();
    let prometheus = Prometheus::scraping(&master);
    let ids = jobs::run(&master);
    let traces = ids.iter().map(|it| master.job(it)["trace_id"].clone());
    let traces: BTreeSet<String> = traces.map(|it| it.as_str().unwrap().to_owned()).collect();
    let samples = scrape(&master);
    for name in TRACED {
        let bucket = format!("{name}_bucket");
        let of_family = samples.iter().filter(|it| it.name == bucket);
        let seen: BTreeSet<String> = of_family.filter_map(trace).collect();
        assert!(!seen.is_empty(), "{name} has no exemplars");
        if name.starts_with("danube_job") || name.starts_with("danube_step") {
            assert!(seen.is_subset(&traces), "{name}: {seen:?} {traces:?}");
        }
    }
    // The older format has none.
    let text = master.request("GET", "/metrics", &[("accept", "text/plain")], b"");
    assert!(
        read_text(&text.text())
            .iter()
            .all(|it| it.exemplar.is_none())
    );

    prometheus.scraped();
    let query = [
        ("query", "danube_step_duration_seconds_bucket"),
        ("start", "0"),
        ("end", "99999999999"),
    ];
    let kept = prometheus.get("/api/v1/query_exemplars", &query);
    let series = kept.as_array().unwrap().iter();
    let exemplars = series.flat_map(|it| it["exemplars"].as_array().unwrap());
    let label = |it: &Value| it["labels"]["trace_id"].as_str().unwrap().to_owned();
    let kept: BTreeSet<String> = exemplars.map(label).collect();
    assert!(!kept.is_empty());
    assert!(kept.is_subset(&traces), "{kept:?} {traces:?}");
}
