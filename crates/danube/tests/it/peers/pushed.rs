//! What a master pushes over OTLP, as a real collector hands it on and as Python reads
//! it: the metrics of the exposition, the server's log, job logs and spans.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use danube_signals::State;
use danube_telemetry::{FamilyDecl, Kind};
use serde_json::Value;

use super::around::Around;
use super::jobs;
use super::otlp::{self, Attributes, Families, Point, Pushed, attributes, list};
use super::python::{Sample, read_openmetrics};
use super::receiver::Receiver;
use super::rotel::Rotel;
use crate::master::Master;

const METRICS: &str = "/v1/metrics";
const LOGS: &str = "/v1/logs";
const TRACES: &str = "/v1/traces";

/// A master that pushes to `endpoint`, its metrics every second.
fn pushing(around: &Around, endpoint: &str, protocol: &str) -> Master {
    around.master(&[
        "--otel-endpoint",
        endpoint,
        "--otel-protocol",
        protocol,
        "--metrics-interval",
        "1",
        "--job-logs",
    ])
}

fn now_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_nanos()).unwrap()
}

/// Waits until everything was pushed anew after this call; the families.
#[track_caller]
fn pushed(receiver: &Receiver) -> BTreeMap<String, Pushed> {
    let since = now_nanos();
    let mut families = Families::default();
    receiver.until("a push of metrics that is newer", |received| {
        families.take(received);
        let newest = |it: &Pushed| it.points.values().map(|it| it.time_nanos).max();
        let is_new = |it: &Pushed| newest(it).is_none_or(|it| it > since);
        let all = &families.all;
        (!all.is_empty() && all.values().all(is_new)).then_some(())
    });
    families.all
}

/// Families that stand still once their jobs have ended.
const STILL: &[&str] = &[
    "danube_job",
    "danube_step",
    "danube_log",
    "danube_auth",
    "danube_build",
    "process_start_time",
];

/// Fails unless what was pushed is what was shown: every series of every family,
/// its type, unit and help; and the same numbers where nothing moves any more.
#[track_caller]
fn same_as_shown(shown: &[Sample], pushed: &BTreeMap<String, Pushed>) {
    let mut series = 0;
    for state in danube_signals::families() {
        let decl = state.decl;
        let samples: Vec<&Sample> = shown.iter().filter(|it| is_of(it, decl)).collect();
        if samples.is_empty() {
            assert_ne!(state.state, State::Live, "{} isn't shown", decl.name());
            continue;
        }
        let family = pushed.get(decl.otel_name);
        let family = family.unwrap_or_else(|| panic!("{} wasn't pushed", decl.otel_name));
        assert_eq!(family.unit, decl.unit, "{}", decl.otel_name);
        assert_eq!(family.description, decl.help, "{}", decl.otel_name);
        let kind = match decl.kind {
            Kind::Counter => ("sum", true),
            Kind::Histogram => ("histogram", false),
            Kind::Gauge | Kind::Info => ("gauge", false),
        };
        assert_eq!(
            (family.kind.as_str(), family.is_monotonic),
            kind,
            "{family:?}"
        );
        if kind.0 != "gauge" {
            assert_eq!(family.temporality, "AGGREGATION_TEMPORALITY_CUMULATIVE");
        }
        for sample in samples {
            let key = key(sample, decl);
            let point = family.points.get(&key);
            let point =
                point.unwrap_or_else(|| panic!("{key:?} of {} wasn't pushed", decl.otel_name));
            same_point(sample, point, decl);
            series += 1;
        }
    }
    assert!(series > 300, "{series}");
    for name in ["danube.job.duration", "danube.step.duration"] {
        let points = pushed[name].points.values();
        let exemplars: usize = points.map(|it| it.exemplars.len()).sum();
        assert!(exemplars > 0, "{name} has no exemplars");
    }
}

#[track_caller]
fn same_point(sample: &Sample, point: &Point, decl: &FamilyDecl) {
    if decl.kind != Kind::Gauge && decl.kind != Kind::Info {
        assert!(
            point.start_nanos > 0,
            "{} has no start: {point:?}",
            decl.otel_name
        );
        assert!(point.start_nanos <= point.time_nanos, "{point:?}");
    }
    if decl.kind == Kind::Histogram {
        assert_eq!(point.bounds, decl.buckets, "{}", decl.otel_name);
        assert_eq!(point.cumulative.len(), decl.buckets.len() + 1);
        assert_eq!(point.cumulative.last(), Some(&point.count));
    }
    let bound = sample.labels.iter().find(|it| it.0 == "le");
    let is = match (&bound, sample.name.ends_with("_count")) {
        (Some((_, bound)), _) => {
            let bound: f64 = bound.parse().unwrap();
            let at = decl.buckets.iter().position(|it| *it >= bound);
            point.cumulative[at.unwrap_or(decl.buckets.len())] as f64
        }
        (None, true) if decl.kind == Kind::Histogram => point.count as f64,
        (None, _) => point.value,
    };
    for exemplar in &point.exemplars {
        let id = |name: &str| exemplar[name].as_str().map(str::len);
        assert_eq!(
            (id("traceId"), id("spanId")),
            (Some(32), Some(16)),
            "{exemplar}"
        );
    }
    if STILL.iter().any(|it| sample.name.starts_with(it)) {
        assert_eq!(is, sample.number(), "{sample:?} {point:?}");
    } else if decl.kind == Kind::Counter || decl.kind == Kind::Histogram {
        assert!(is >= sample.number(), "{sample:?} {point:?}");
    }
}

fn is_of(sample: &Sample, decl: &FamilyDecl) -> bool {
    match decl.kind {
        Kind::Histogram => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|it| sample.name.strip_suffix(it) == Some(decl.name())),
        _ => sample.name == decl.name(),
    }
}

/// The attributes that belong to the labels: an empty value is none.
#[track_caller]
fn key(sample: &Sample, decl: &FamilyDecl) -> Attributes {
    let is_one = |it: &&(String, String)| it.0 != "le" && !it.1.is_empty();
    let labels = sample.labels.iter().filter(is_one);
    let key = |(name, value): &(String, String)| {
        let label = decl.labels().iter().find(|it| it.name() == name);
        (
            label.expect("a declared label").key.to_owned(),
            value.clone(),
        )
    };
    let mut all: Attributes = labels.map(key).collect();
    all.sort();
    all
}

/// What a resource must say of us.
#[track_caller]
fn told_who_we_are(requests: &[Value], list_name: &str) {
    let resources = requests.iter().flat_map(|it| list(&it[list_name]));
    let mut count = 0;
    for resource in resources {
        let all: BTreeMap<String, String> = attributes(&resource["resource"]["attributes"])
            .into_iter()
            .collect();
        assert_eq!(all["service.name"], "danube", "{all:?}");
        assert_eq!(all["service.version"], env!("CARGO_PKG_VERSION"), "{all:?}");
        assert_ne!(all["service.instance.id"], "", "{all:?}");
        count += 1;
    }
    assert!(count > 0, "no {list_name}");
}

/// What is shown once jobs have ended in each way.
#[track_caller]
fn shown_after_jobs(around: &mut Around, master: &Master) -> Vec<Sample> {
    jobs::run(master);
    around.used_by(master);
    // A request that families of requests can show.
    master.get("/metrics");
    let accept = [("accept", "application/openmetrics-text")];
    read_openmetrics(&master.request("GET", "/metrics", &accept, b"").text())
}

#[track_caller]
fn a_collector_is_told_what_is_shown(protocol: &str) {
    let receiver = otlp::receiver();
    let collector = Rotel::handing_on_to(&receiver);
    let mut around = Around::start();
    let master = pushing(&around, collector.endpoint(protocol), protocol);
    same_as_shown(&shown_after_jobs(&mut around, &master), &pushed(&receiver));
    let requests = otlp::read(&receiver.received(), METRICS);
    told_who_we_are(&requests, "resourceMetrics");
    let output = collector.output();
    assert!(!output.contains("ERROR"), "{output}");
}

#[test]
fn a_collector_gets_over_grpc_what_is_shown() {
    a_collector_is_told_what_is_shown("grpc");
}

#[test]
fn a_collector_gets_over_http_what_is_shown() {
    a_collector_is_told_what_is_shown("http/protobuf");
}

#[test]
fn python_reads_what_is_pushed_over_http() {
    let receiver = otlp::receiver();
    let mut around = Around::start();
    let master = pushing(&around, &receiver.url, "http/protobuf");
    same_as_shown(&shown_after_jobs(&mut around, &master), &pushed(&receiver));
    let received = receiver.received();
    for request in &received {
        assert_eq!(request.header("content-type"), "application/x-protobuf");
    }
    told_who_we_are(&otlp::read(&received, METRICS), "resourceMetrics");
    told_who_we_are(&otlp::read(&received, LOGS), "resourceLogs");
    told_who_we_are(&otlp::read(&received, TRACES), "resourceSpans");
}

/// Everything of the last level in requests of this shape.
fn flat<'a>(requests: &'a [Value], levels: [&'a str; 3]) -> impl Iterator<Item = &'a Value> {
    let [resources, scopes, items] = levels;
    let resources = requests.iter().flat_map(move |it| list(&it[resources]));
    let scopes = resources.flat_map(move |it| list(&it[scopes]));
    scopes.flat_map(move |it| list(&it[items]))
}

/// Log, output and spans of a job, told to a collector.
#[track_caller]
fn a_jobs_records_and_spans_are_handed_on(protocol: &str) {
    let receiver = otlp::receiver();
    let collector = Rotel::handing_on_to(&receiver);
    let around = Around::start();
    let master = pushing(&around, collector.endpoint(protocol), protocol);
    let job = master.run("echo \"said to be heard\"; echo password=hunter22");
    jobs::counted(&master, &job);
    let trace = master.job(&job)["trace_id"].clone();

    let mut read = 0;
    let (done, said, spans) = receiver.until("its records and spans come", |received| {
        if received.len() == std::mem::replace(&mut read, received.len()) {
            return None;
        }
        let logs = otlp::read(received, LOGS);
        let records = flat(&logs, ["resourceLogs", "scopeLogs", "logRecords"]);
        let records: Vec<&Value> = records.filter(|it| it["traceId"] == trace).collect();
        let done = records
            .iter()
            .find(|it| it["eventName"] == "job_completed")?;
        let heard = |it: &&&Value| it["body"]["stringValue"] == "said to be heard";
        let said = records.iter().find(heard)?;
        let traces = otlp::read(received, TRACES);
        let spans = flat(&traces, ["resourceSpans", "scopeSpans", "spans"]);
        let spans: Vec<Value> = spans.filter(|it| it["traceId"] == trace).cloned().collect();
        let is_whole = ["Job ", "POST /api/v1/jobs"].iter().all(|name| {
            spans
                .iter()
                .any(|it| otlp::text(&it["name"]).starts_with(name))
        });
        is_whole.then(|| ((*done).clone(), (*said).clone(), spans))
    });
    assert_eq!(done["severityNumber"], "SEVERITY_NUMBER_INFO", "{done}");
    let attributes: BTreeMap<_, _> = attributes(&done["attributes"]).into_iter().collect();
    assert_eq!(attributes["job_id"], job, "{done}");
    assert_eq!(attributes["status"], "success", "{done}");
    let ids: Vec<&Value> = spans.iter().map(|it| &it["spanId"]).collect();
    assert!(ids.contains(&&done["spanId"]), "{done} {spans:?}");
    assert!(ids.contains(&&said["spanId"]), "{said} {spans:?}");
    // What is masked is masked on this way too.
    for received in receiver.received() {
        let read = otlp::read(std::slice::from_ref(&received), &received.path);
        assert!(!serde_json::to_string(&read).unwrap().contains("hunter22"));
    }
}

#[test]
fn a_collector_gets_log_output_and_spans_of_a_job_over_grpc() {
    a_jobs_records_and_spans_are_handed_on("grpc");
}

#[test]
fn a_collector_gets_log_output_and_spans_of_a_job_over_http() {
    a_jobs_records_and_spans_are_handed_on("http/protobuf");
}
