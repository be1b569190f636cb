//! A real Prometheus scrapes a real master and answers questions about it.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use danube_signals::State;
use danube_telemetry::Kind;
use serde_json::json;

use super::around::Around;
use super::jobs::{self, COUNT, ENDED};
use super::prometheus::{JOB, Point, Prometheus};
use super::python::read_text;
use crate::master::{Master, id};
use crate::processes::HELD;

#[test]
fn prometheus_scrapes_a_master_and_answers_with_the_right_numbers() {
    let master = Master::start();
    let prometheus = Prometheus::scraping(&master);
    prometheus.until("up", |it| it.iter().any(|it| it.value == 1.0).then_some(()));
    jobs::run(&master);
    prometheus.scraped();

    for (pipeline, status, count) in ENDED {
        let pipeline = json!(pipeline);
        let series = format!("danube_jobs_total{{pipeline={pipeline},status=\"{status}\"}}");
        assert_eq!(prometheus.value(&series), *count, "{series}");
    }
    let all = COUNT as f64;
    let cases = [
        ("sum(danube_jobs_total)", all),
        ("sum(danube_job_duration_seconds_count)", all),
        ("sum(danube_job_duration_seconds_bucket{le=\"+Inf\"})", all),
        ("sum(danube_job_timeouts_total)", 1.0),
        ("danube_job_queue_wait_seconds_count", all),
        ("danube_active_jobs", 0.0),
        ("danube_job_queue_size", 0.0),
        ("danube_workers_active", 1.0),
        ("danube_health_check_status{check=\"database\"}", 1.0),
        (
            "danube_http_request_duration_seconds_count{method=\"POST\",route=\"/api/v1/jobs\",status=\"202\"}",
            all,
        ),
        ("sum(danube_log_redactions_total)", 1.0),
        ("count(danube_log_bytes_written_total)", all),
        ("danube_build_info * 0 + 1", 1.0),
        ("up", 1.0),
    ];
    for (expression, wanted) in cases {
        assert_eq!(prometheus.value(expression), wanted, "{expression}");
    }
    let ingested = prometheus.value("danube_log_bytes_ingested_total");
    assert!(ingested > 0.0);
    assert_eq!(
        prometheus.value("sum(danube_log_bytes_written_total)"),
        ingested
    );
    assert!(prometheus.value("process_resident_memory_bytes") > 1e6);
    assert!(prometheus.value("scrape_samples_scraped") > 300.0);
    no_sample_was_refused(&prometheus);
}

/// A series that is there twice, or with two types, is only a warning to it.
#[track_caller]
fn no_sample_was_refused(prometheus: &Prometheus) {
    let output = prometheus.output();
    let complaint = |it: &&str| it.contains("level=warn") || it.contains("level=error");
    let complaints: Vec<&str> = output.lines().filter(complaint).collect();
    assert_eq!(complaints, [""; 0]);
}

#[test]
fn prometheus_has_every_live_family_and_every_series_that_the_master_shows() {
    let mut around = Around::start();
    let master = around.master(&[]);
    let prometheus = Prometheus::scraping(&master);
    jobs::run(&master);
    around.used_by(&master);
    // A request that families of requests can show.
    master.get("/metrics");
    prometheus.scraped();

    let known = prometheus.get("/api/v1/metadata", &[]);
    for live in danube_signals::families().filter(|it| it.state == State::Live) {
        let (name, kind) = (live.decl.name(), live.decl.kind);
        // It scrapes OpenMetrics, where the suffix belongs to the sample.
        let (family, sample, kind) = match kind {
            Kind::Counter => (name.trim_end_matches("_total"), name.to_owned(), "counter"),
            Kind::Info => (name.trim_end_matches("_info"), name.to_owned(), "info"),
            Kind::Gauge => (name, name.to_owned(), "gauge"),
            Kind::Histogram => (name, format!("{name}_count"), "histogram"),
        };
        assert_eq!(known[family][0]["type"], kind, "{name}");
        assert_eq!(known[family][0]["help"], live.decl.help, "{name}");
        assert_ne!(prometheus.query(&sample), [], "{name}");
    }

    let shown = read_text(&master.get("/metrics").text());
    let shown: BTreeMap<_, _> = shown
        .iter()
        .map(|it| {
            // A label with an empty value is one that isn't there, to it.
            let mut labels = it.labels.clone();
            labels.retain(|it| !it.1.is_empty());
            ((it.name.clone(), labels), it.number())
        })
        .collect();
    let points = prometheus.query(&format!("{{job=\"{JOB}\"}}"));
    let mut held = BTreeMap::new();
    for Point { mut labels, value } in points {
        let name = labels.remove("__name__").unwrap();
        // What it adds by itself.
        if name == "up" || name.starts_with("scrape_") {
            continue;
        }
        labels.retain(|it, _| it != "job" && it != "instance");
        held.insert((name, labels.into_iter().collect()), value);
    }
    let names = |of: &BTreeMap<_, f64>| of.keys().cloned().collect::<BTreeSet<(String, Vec<_>)>>();
    let (is, should_be) = (names(&held), names(&shown));
    let differ: Vec<_> = is.symmetric_difference(&should_be).collect();
    assert!(differ.is_empty(), "{differ:?}");
    for (series, value) in held {
        if series.0.starts_with("danube_job") || series.0.starts_with("danube_step") {
            assert_eq!(value, shown[&series], "{series:?}");
        }
    }
}

#[test]
fn prometheus_is_told_of_jobs_while_they_run() {
    let master = Master::start();
    let prometheus = Prometheus::scraping(&master);
    let jobs = [master.run(HELD), master.run(HELD)];
    jobs.iter().for_each(|it| master.until_log(it, "begin"));
    prometheus.scraped();
    assert_eq!(prometheus.value("danube_active_jobs"), 2.0);
    // They are there from the start of a pipeline's first job, so that the end of it
    // is an increase.
    assert_eq!(prometheus.value("sum(danube_jobs_total)"), 0.0);
    for job in &jobs {
        let written = format!("danube_log_bytes_written_total{{job_id=\"{job}\"}}");
        assert_eq!(prometheus.value(&written), 6.0);
        jobs::cancel(&master, job);
    }
    jobs.iter().for_each(|it| jobs::counted(&master, it));
    prometheus.scraped();
    assert_eq!(prometheus.value("danube_active_jobs"), 0.0);
    assert_eq!(
        prometheus.value("sum(danube_jobs_total{status=\"cancelled\"})"),
        2.0
    );
}

#[test]
fn two_that_scrape_at_once_while_jobs_run_both_get_everything() {
    /// Scrapes of each of the two.
    const SCRAPES: usize = 40;
    let master = Master::start();
    let submit = |at: usize| {
        let name = format!("pipeline {at}");
        id(&master
            .submit(&json!({"spec": {"name": name, "steps": [{"name": "only", "run": "echo x"}]}})))
    };
    thread::scope(|scope| {
        let scrapers = ["text/plain", "application/openmetrics-text"].map(|accept| {
            let master = &master;
            scope.spawn(move || {
                let mut jobs = 0.0;
                for _ in 0..SCRAPES {
                    let answer = master.request("GET", "/metrics", &[("accept", accept)], b"");
                    assert_eq!(answer.status, 200);
                    let text = answer.text();
                    assert!(text.ends_with('\n') && text.contains("process_start_time_seconds "));
                    let is = sum(&text, "danube_jobs_total{");
                    assert!(is >= jobs, "{is} after {jobs}");
                    jobs = is;
                }
            })
        });
        let jobs: Vec<String> = (0..8).map(submit).collect();
        jobs.iter().for_each(|it| jobs::counted(&master, it));
        for scraper in scrapers {
            scraper.join().unwrap();
        }
    });
    let text = master.get("/metrics").text();
    assert_eq!(sum(&text, "danube_jobs_total{"), 8.0);
    let scrapes = "danube_http_request_duration_seconds_count{method=\"GET\",route=\"/metrics\",status=\"200\"}";
    assert_eq!(sum(&text, scrapes), 2.0 * SCRAPES as f64);
}

/// Sum of the series that begin like this.
fn sum(text: &str, series: &str) -> f64 {
    let values = text.lines().filter(|it| it.starts_with(series));
    values
        .map(|it| it.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum()
}
