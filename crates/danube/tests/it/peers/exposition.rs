//! What `/metrics` gives, read by promtool and by Python's `prometheus_client`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use super::jobs::{self, ENDED};
use super::program::finish;
use super::prometheus::promtool;
use super::python::{Sample, read_openmetrics, read_text, value};
use crate::master::{Answer, Master};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";

#[track_caller]
fn scrape(master: &Master, accept: &str) -> Answer {
    let answer = master.request("GET", "/metrics", &[("accept", accept)], b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

#[test]
fn promtool_has_nothing_to_say_about_the_metrics_of_a_master_that_ran_jobs() {
    let master = Master::start();
    jobs::run(&master);
    let text = scrape(&master, "text/plain").text();
    let checked = promtool(&["check", "metrics"], Path::new("."), text.as_bytes());
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!((checked.stdout.as_str(), checked.stderr.as_str()), ("", ""));

    // It would have said something.
    let wrong = "# TYPE wrong counter\nwrong 1\n";
    let checked = promtool(&["check", "metrics"], Path::new("."), wrong.as_bytes());
    assert!(!checked.status.success(), "{checked:?}");
}

#[test]
fn python_reads_the_same_series_in_both_formats() {
    let master = Master::start();
    jobs::run(&master);
    // The first scrape is a request that those after it show.
    scrape(&master, OPENMETRICS);
    let first = scrape(&master, "text/plain").text();
    let second = scrape(&master, OPENMETRICS).text();
    let (first, second) = (read_text(&first), read_openmetrics(&second));

    let series = |samples: &[Sample]| -> BTreeSet<(String, Vec<(String, String)>)> {
        let all: Vec<_> = samples
            .iter()
            .map(|it| (it.name.clone(), it.labels.clone()))
            .collect();
        let set: BTreeSet<_> = all.iter().cloned().collect();
        assert_eq!(set.len(), all.len(), "a series is there twice");
        set
    };
    assert_eq!(series(&first), series(&second));
    assert!(first.len() > 300, "{}", first.len());
    for (pipeline, status, count) in ENDED {
        for samples in [&first, &second] {
            let labels = [("pipeline", *pipeline), ("status", status)];
            assert_eq!(value(samples, "danube_jobs_total", &labels), *count);
        }
    }
    never_went_down(&first, &second);
}

/// Between two readings nothing that counts may go down, and what these jobs
/// moved stands still.
#[track_caller]
fn never_went_down(first: &[Sample], second: &[Sample]) {
    let before: BTreeMap<_, f64> = first.iter().map(|it| (it.series(), it.number())).collect();
    for sample in second {
        let (was, is) = (before[&sample.series()], sample.number());
        let counts = sample.kind == "counter" || sample.kind == "histogram";
        assert!(!counts || was <= is, "{sample:?} was {was}");
        if sample.name.starts_with("danube_job") || sample.name.starts_with("danube_step") {
            assert!(was == is || was.is_nan(), "{sample:?} was {was}");
        }
    }
}

#[test]
fn a_scrape_keeps_the_order_of_the_one_before() {
    let master = Master::start();
    jobs::run(&master);
    // The first scrape is a request that those after it show.
    scrape(&master, OPENMETRICS);
    let order = || -> Vec<String> {
        let text = scrape(&master, OPENMETRICS).text();
        let lines = text.lines().map(|it| match it.strip_prefix('#') {
            Some(_) => it.to_owned(),
            None => it
                .split(" # ")
                .next()
                .unwrap()
                .rsplit_once(' ')
                .unwrap()
                .0
                .to_owned(),
        });
        lines.collect()
    };
    let first = order();
    assert_eq!(first, order());
    // All of a family stands together: its header comes once.
    let headers: Vec<&String> = first.iter().filter(|it| it.starts_with("# TYPE")).collect();
    assert_eq!(headers.iter().collect::<BTreeSet<_>>().len(), headers.len());
    assert_eq!(first.last().unwrap(), "# EOF");
    assert_eq!(first.iter().filter(|it| *it == "# EOF").count(), 1);
}

#[test]
fn every_family_has_its_type_its_help_and_its_unit() {
    let master = Master::start();
    jobs::run(&master);
    let samples = read_openmetrics(&scrape(&master, OPENMETRICS).text());
    for sample in &samples {
        let family = sample.family.as_str();
        assert!(sample.help.ends_with('.'), "{sample:?}");
        assert_ne!(sample.kind, "unknown", "{sample:?}");
        let suffixes: &[&str] = match sample.kind.as_str() {
            "counter" => &["_total"],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let rest = sample.name.strip_prefix(family);
        assert!(rest.is_some_and(|it| suffixes.contains(&it)), "{sample:?}");
        for unit in ["seconds", "bytes", "ratio"] {
            let is_named = family.ends_with(&format!("_{unit}"));
            assert_eq!(is_named, sample.unit == unit, "{sample:?}");
        }
        let names = sample.labels.iter().map(|it| it.0.as_str());
        let reserved = |it: &str| it.starts_with("__") || ["job", "instance"].contains(&it);
        assert!(!names.clone().any(reserved), "{sample:?}");
    }
}

#[test]
fn the_format_is_chosen_by_what_is_accepted_and_head_gives_the_same_headers() {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let master = Master::start();
    let cases = [
        ("*/*", TEXT),
        ("text/html, */*;q=0.8", TEXT),
        (OPENMETRICS, OPEN),
        // Prometheus 2.42, then 3.
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OPEN,
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            OPEN,
        ),
        // With native histograms it asks for protobuf first, which we don't write.
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            OPEN,
        ),
        ("application/openmetrics-text;version=2.0.0", TEXT),
        (
            "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;q=0.5",
            TEXT,
        ),
        (";;q=,\"", TEXT),
    ];
    for (accept, kind) in cases {
        let answer = scrape(&master, accept);
        assert_eq!(answer.header("content-type"), Some(kind), "{accept}");
        assert_eq!(answer.text().ends_with("# EOF\n"), kind == OPEN, "{accept}");
        let head = master.request("HEAD", "/metrics", &[("accept", accept)], b"");
        assert_eq!(head.status, 200, "{accept}");
        assert_eq!(head.header("content-type"), Some(kind), "{accept}");
        assert_eq!(head.body, b"", "{accept}");
    }
}

#[test]
fn an_accepted_format_may_stand_in_a_line_of_its_own() {
    let master = Master::start();
    let lines = [
        ("accept", "text/plain;q=0.5"),
        ("accept", OPENMETRICS),
        ("accept-encoding", "identity"),
        ("accept-encoding", "gzip"),
    ];
    let answer = master.request("GET", "/metrics", &lines, b"");
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
}

#[test]
fn gzip_unpacks_the_same_series_for_those_who_ask_for_it() {
    let master = Master::start();
    jobs::run(&master);
    scrape(&master, OPENMETRICS);
    let plain = scrape(&master, OPENMETRICS);
    assert_eq!(plain.header("content-encoding"), None);
    let ask = [("accept", OPENMETRICS), ("accept-encoding", "gzip")];
    let packed = master.request("GET", "/metrics", &ask, b"");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert_eq!(packed.header("vary"), Some("accept, accept-encoding"));
    assert!(packed.body.len() < plain.body.len() / 3);
    let mut command = Command::new("gzip");
    command.arg("-dc");
    let unpacked = finish(command, &packed.body);
    assert!(unpacked.status.success(), "{unpacked:?}");
    never_went_down(
        &read_openmetrics(&plain.text()),
        &read_openmetrics(&unpacked.stdout),
    );
    let head = master.request("HEAD", "/metrics", &ask, b"");
    assert_eq!(head.header("content-encoding"), Some("gzip"));
    assert_eq!(head.body, b"");
}
