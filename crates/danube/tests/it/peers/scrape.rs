//! A real Prometheus scrapes a real master and answers questions about it.

use std::thread;

use serde_json::json;

use super::jobs::{self, COUNT, ENDED};
use super::prometheus::Prometheus;
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
fn prometheus_knows_type_and_help_of_every_family_that_the_master_shows() {
    let master = Master::start();
    // A request that families of requests can show.
    master.get("/metrics");
    let prometheus = Prometheus::scraping(&master);
    prometheus.scraped();
    let text = master.get("/metrics").text();
    let known = prometheus.get("/api/v1/metadata", &[]);
    let mut count = 0;
    for line in text.lines().filter_map(|it| it.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        // It scrapes OpenMetrics, where counters and infos are named without suffix.
        let (name, kind) = match (name.strip_suffix("_total"), name.strip_suffix("_info")) {
            (Some(name), _) => (name, kind),
            (_, Some(name)) => (name, "info"),
            _ => (name, kind),
        };
        assert_eq!(known[name][0]["type"], kind, "{name}: {}", known[name]);
        assert_ne!(known[name][0]["help"], "", "{name}");
        count += 1;
    }
    assert!(count > 30, "{count}");
}

#[test]
fn prometheus_is_told_of_jobs_while_they_run() {
    let master = Master::start();
    let prometheus = Prometheus::scraping(&master);
    let jobs = [master.run(HELD), master.run(HELD)];
    jobs.iter().for_each(|it| master.until_log(it, "begin"));
    prometheus.scraped();
    assert_eq!(prometheus.value("danube_active_jobs"), 2.0);
    assert_eq!(prometheus.query("danube_jobs_total"), []);
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
