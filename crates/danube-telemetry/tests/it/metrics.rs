//! Families, expiry and exposition.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use danube_telemetry::metric::{Context, OTHER, process};
use danube_telemetry::{
    Closed, Counter, Expiring, FamilyDecl, FloatCounter, FloatGauge, Format, Gauge, Histogram,
    Open, Registry, Single, Striped, label_enum,
};

label_enum! {
    enum Status { Good = "good", Bad = "bad" }
}
label_enum! {
    enum Op { Read = "read", Write = "write" }
}

static CALLS: FamilyDecl =
    FamilyDecl::counter("calls_total", "Calls, \"quoted\" and \\ with\nnewline.")
        .closed::<Op>("op")
        .closed::<Status>("status");
static STRIPED: FamilyDecl = FamilyDecl::counter("striped_total", "Calls of many threads.")
    .closed::<Op>("op")
    .closed::<Status>("status");
static JOBS: FamilyDecl = FamilyDecl::counter("jobs_total", "Jobs.")
    .closed::<Status>("status")
    .bounded("pipeline");
static WAIT: FamilyDecl = FamilyDecl::histogram("wait_seconds", "Waits.", &[0.1, 1.0, 10.0]);
static STEP: FamilyDecl =
    FamilyDecl::histogram("step_seconds", "Steps.", &[0.5]).bounded("pipeline");
static CPU: FamilyDecl = FamilyDecl::counter("cpu", "CPU.").unit("s");
static QUEUE: FamilyDecl = FamilyDecl::gauge("queue", "Waiting.");
static FREE: FamilyDecl = FamilyDecl::gauge("free_ratio", "Free.")
    .unit("1")
    .when_set();
static BUILD: FamilyDecl = FamilyDecl::info("build_info", "Build.").bounded("version");
static BYTES: FamilyDecl = FamilyDecl::counter("bytes_total", "Bytes.").expiring("job_id");
static OVERFLOW: FamilyDecl = FamilyDecl::counter("overflow_total", "Overflow.").bounded("family");
static LATER: FamilyDecl = FamilyDecl::counter("later_total", "Later.").closed::<Op>("op");
static OPEN_LATER: FamilyDecl = FamilyDecl::gauge("open_later", "Later.").bounded("name");
static HTTP: FamilyDecl = FamilyDecl::counter("http_total", "Requests.")
    .sparse("method")
    .bounded("route");

fn limited(series_max: usize) -> Registry {
    Registry::with(Context {
        clock: Arc::new(Instant::now),
        series_max: Some(series_max),
        ..Context::default()
    })
}

/// Everything that the golden files show.
fn sample() -> Registry {
    let registry = Registry::new();
    let calls: Closed<(Op, Status), Counter> = registry.add(&CALLS);
    calls.at((Op::Write, Status::Bad)).add(3);
    let jobs: Open<1, Status, Counter> = registry.add(&JOBS);
    jobs.with(["z"]).at(Status::Bad).inc();
    jobs.with(["a\"b\\c\nd é"]).at(Status::Good).add(u64::MAX);
    let wait: Single<Histogram> = registry.add(&WAIT);
    for value in [0.05, 0.1, 0.7, 100.0, f64::NAN, -1.0] {
        wait.observe(value);
    }
    let step: Open<1, (), Histogram> = registry.add(&STEP);
    step.with(["a"])
        .observe_duration(Duration::from_millis(250));
    let cpu: Single<FloatCounter> = registry.add(&CPU);
    cpu.add(1.5);
    cpu.add_duration(Duration::from_millis(250));
    cpu.add(-7.0);
    cpu.add(f64::NAN);
    let queue: Single<Gauge> = registry.add(&QUEUE);
    queue.add(-2);
    let _free: Single<FloatGauge> = registry.add(&FREE);
    let build: Open<1, (), Gauge> = registry.add(&BUILD);
    build.with(["1.2.3"]).set(1);
    registry.add_zeros(&LATER);
    registry.add_zeros(&OPEN_LATER);
    registry.add_overflow(&OVERFLOW);
    registry
}

const BODY: &str = r#"calls_total{op="read",status="good"} 0
calls_total{op="read",status="bad"} 0
calls_total{op="write",status="good"} 0
calls_total{op="write",status="bad"} 3
|jobs|counter|Jobs.
jobs_total{status="good",pipeline="a\"b\\c\nd é"} 18446744073709551615
jobs_total{status="bad",pipeline="a\"b\\c\nd é"} 0
jobs_total{status="good",pipeline="z"} 0
jobs_total{status="bad",pipeline="z"} 1
|wait_seconds|histogram|Waits.
wait_seconds_bucket{le="0.1"} 3
wait_seconds_bucket{le="1.0"} 4
wait_seconds_bucket{le="10.0"} 4
wait_seconds_bucket{le="+Inf"} 5
wait_seconds_sum 100.85
wait_seconds_count 5
|step_seconds|histogram|Steps.
step_seconds_bucket{pipeline="a",le="0.5"} 1
step_seconds_bucket{pipeline="a",le="+Inf"} 1
step_seconds_sum{pipeline="a"} 0.25
step_seconds_count{pipeline="a"} 1
|cpu_seconds|counter|CPU.
cpu_seconds_total 1.75
|queue|gauge|Waiting.
queue -2
|build|info|Build.
build_info{version="1.2.3"} 1
|later|counter|Later.
later_total{op="read"} 0
later_total{op="write"} 0
|overflow|counter|Overflow.
overflow_total{family="jobs_total"} 0
overflow_total{family="step_seconds"} 0
overflow_total{family="build_info"} 0
"#;

/// Replaces the `|name|type|help` lines by a format's own headers.
fn golden(first: &str, header: impl Fn(&str, &str, &str) -> String) -> String {
    let mut out = first.to_owned();
    for line in BODY.lines() {
        match line
            .strip_prefix('|')
            .map(|it| it.split('|').collect::<Vec<_>>())
        {
            Some(parts) => out.push_str(&header(parts[0], parts[1], parts[2])),
            None => out.push_str(&format!("{line}\n")),
        }
    }
    out
}

#[test]
fn prometheus_text_is_exactly_so() {
    let first = "# HELP calls_total Calls, \"quoted\" and \\\\ with\\nnewline.\n# TYPE calls_total counter\n";
    let expected = golden(first, |name, kind, help| {
        let (suffix, kind) = match kind {
            "counter" => ("_total", "counter"),
            "info" => ("_info", "gauge"),
            kind => ("", kind),
        };
        format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n")
    });
    assert_eq!(sample().encode(Format::Text004), expected);
}

#[test]
fn openmetrics_text_is_exactly_so() {
    let first =
        "# HELP calls Calls, \\\"quoted\\\" and \\\\ with\\nnewline.\n# TYPE calls counter\n";
    let expected = golden(first, |name, kind, help| {
        let unit = if name.ends_with("_seconds") {
            format!("# UNIT {name} seconds\n")
        } else {
            String::new()
        };
        format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{unit}")
    });
    assert_eq!(
        sample().encode(Format::OpenMetrics1),
        format!("{expected}# EOF\n")
    );
}

#[test]
fn a_gauge_whose_zero_would_mean_something_is_absent_until_it_is_set() {
    let registry = Registry::new();
    let free: Single<FloatGauge> = registry.add(&FREE);
    assert_eq!(registry.value("free_ratio"), None);
    free.set(0.0);
    assert_eq!(registry.value("free_ratio"), Some(0.0));
    free.clear();
    assert_eq!(registry.value("free_ratio"), None);
}

#[test]
fn values_past_the_limit_share_one_series_and_are_counted() {
    let registry = limited(2);
    let jobs: Open<1, Status, Counter> = registry.add(&JOBS);
    registry.add_overflow(&OVERFLOW);
    for pipeline in ["a", "b", "c", "d", "a"] {
        jobs.with([pipeline]).at(Status::Good).inc();
    }
    assert_eq!(
        registry.value(r#"jobs_total{pipeline="a",status="good"}"#),
        Some(2.0)
    );
    let other = format!("jobs_total{{status=\"good\",pipeline=\"{OTHER}\"}}");
    assert_eq!(registry.value(&other), Some(2.0));
    assert_eq!(
        registry.value(r#"jobs_total{status="good",pipeline="c"}"#),
        None
    );
    assert_eq!(
        registry.value(r#"overflow_total{family="jobs_total"}"#),
        Some(2.0)
    );
}

#[test]
fn a_sparse_label_keeps_its_value_when_the_family_overflows_but_never_without_bound() {
    let registry = limited(2);
    let http: Open<2, (), Counter> = registry.add(&HTTP);
    for method in ["GET", "POST", "PUT", "PATCH", "HEAD", "OPTIONS"] {
        http.with([method, &format!("/{method}")]).inc();
    }
    let seen: Vec<String> = registry
        .encode(Format::Text004)
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    assert_eq!(
        seen,
        [
            r#"http_total{method="GET",route="/GET"} 1"#,
            r#"http_total{method="PATCH",route="__other__"} 1"#,
            r#"http_total{method="POST",route="/POST"} 1"#,
            r#"http_total{method="PUT",route="__other__"} 1"#,
            r#"http_total{method="__other__",route="__other__"} 2"#,
        ]
    );
}

#[test]
fn a_label_value_of_a_megabyte_is_cut_between_characters() {
    let registry = Registry::new();
    let jobs: Open<1, Status, Counter> = registry.add(&JOBS);
    jobs.with([&"é".repeat(500_000)]).at(Status::Good).inc();
    jobs.with([&format!("x{}", "é".repeat(500_000))])
        .at(Status::Good)
        .inc();
    let cut = format!(
        r#"jobs_total{{status="good",pipeline="{}"}}"#,
        "é".repeat(128)
    );
    assert_eq!(registry.value(&cut), Some(1.0));
    let cut = format!(
        r#"jobs_total{{status="good",pipeline="x{}"}}"#,
        "é".repeat(127)
    );
    assert_eq!(registry.value(&cut), Some(1.0));
}

#[test]
fn a_job_series_goes_five_minutes_after_its_last_owner() {
    let start = Instant::now();
    let now = Arc::new(Mutex::new(start));
    let clock = {
        let now = Arc::clone(&now);
        Arc::new(move || *now.lock().unwrap())
    };
    let at = |secs| *now.lock().unwrap() = start + Duration::from_secs(secs);
    let registry = Registry::with(Context {
        clock,
        series_max: None,
        ..Context::default()
    });
    let bytes: Expiring<Counter> = registry.add(&BYTES);
    let value = || registry.value(r#"bytes_total{job_id="1"}"#);

    let first = bytes.open("1");
    let second = bytes.open("1");
    first.add(5);
    drop(first);
    at(3_600);
    assert_eq!(value(), Some(5.0), "a second owner keeps it");
    second.add(2);
    drop(second);
    at(3_600 + 299);
    assert_eq!(value(), Some(7.0), "a scrape can still see its last value");
    let again = bytes.open("1");
    again.add(1);
    drop(again);
    at(3_600 + 299 + 299);
    assert_eq!(value(), Some(8.0), "a new attempt goes on where it was");
    at(3_600 + 299 + 300);
    assert_eq!(value(), None);
    assert!(!registry.encode(Format::Text004).contains("bytes_total"));
}

#[test]
fn ids_past_the_limit_take_the_place_of_those_done_the_longest_and_then_share_one() {
    let registry = limited(2);
    let bytes: Expiring<Counter> = registry.add(&BYTES);
    let one = bytes.open("1");
    bytes.open("2").inc();
    let three = bytes.open("3");
    assert_eq!(registry.value(r#"bytes_total{job_id="2"}"#), None);
    let four = bytes.open("4");
    four.add(9);
    assert_eq!(registry.value(r#"bytes_total{job_id="4"}"#), None);
    assert_eq!(
        registry.value(r#"bytes_total{job_id="__other__"}"#),
        Some(9.0)
    );
    drop((one, three));
}

#[test]
fn no_increment_is_lost_between_threads() {
    const THREADS: u64 = 4;
    const EACH: u64 = 10_000;
    let registry = limited(10);
    let calls: Closed<(Op, Status), Counter> = registry.add(&CALLS);
    let jobs: Open<1, Status, Counter> = registry.add(&JOBS);
    let wait: Single<Histogram> = registry.add(&WAIT);
    let striped: Striped<(Op, Status)> = registry.add(&STRIPED);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (calls, jobs, wait, striped) = (&calls, &jobs, &wait, &striped);
            scope.spawn(move || {
                for n in 0..EACH {
                    calls.at((Op::Read, Status::Good)).inc();
                    striped.inc((Op::Write, Status::Bad));
                    jobs.with([&format!("p{}", (n + thread) % 20)])
                        .at(Status::Bad)
                        .inc();
                    wait.observe(1.0);
                }
            });
        }
        for _ in 0..20 {
            registry.encode(Format::OpenMetrics1);
        }
    });
    let all = THREADS * EACH;
    assert_eq!(calls.at((Op::Read, Status::Good)).get(), all);
    assert_eq!(striped.get((Op::Write, Status::Bad)), all);
    assert_eq!(striped.get((Op::Read, Status::Bad)), 0);
    assert_eq!(wait.count(), all);
    let text = registry.encode(Format::Text004);
    let line = format!("striped_total{{op=\"write\",status=\"bad\"}} {all}\n");
    assert!(text.contains(&line), "{text}");
    let jobs: u64 = text
        .lines()
        .filter(|line| line.starts_with("jobs_total{status=\"bad\""))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        .sum();
    assert_eq!(jobs, all);
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let sum = all as f64;
    assert_eq!(registry.value("wait_seconds_sum"), Some(sum));
}

#[test]
fn an_observed_gauge_is_set_at_each_collection_and_one_that_panics_spoils_nothing() {
    let registry = Registry::new();
    let queue: Single<Gauge> = registry.add(&QUEUE);
    registry.on_collect(|| panic!("a gauge that can't be read"));
    registry.on_collect(move || queue.add(1));
    assert_eq!(registry.value("queue"), Some(1.0));
    assert_eq!(registry.value("queue"), Some(2.0));
}

#[test]
#[should_panic(expected = "queue is declared twice")]
fn a_name_can_be_declared_once() {
    let registry = Registry::new();
    let _first: Single<Gauge> = registry.add(&QUEUE);
    let _second: Single<Gauge> = registry.add(&QUEUE);
}

#[test]
#[should_panic(expected = "the closed labels are not those of the type")]
fn a_declaration_must_fit_the_type_that_records_it() {
    let _wrong: Closed<(Status, Op), Counter> = Registry::new().add(&CALLS);
}

#[test]
fn the_process_tells_its_own_numbers() {
    let registry = Registry::new();
    process::register(&registry);
    let value = |name| registry.value(name).unwrap();
    assert!(value("process_resident_memory_bytes") > 100_000.0);
    assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
    assert!(value("process_open_fds") >= 3.0);
    assert!(value("process_max_fds") >= value("process_open_fds"));
    // Between 2020 and the end of a four-digit year.
    assert!((1.5e9..2.5e11).contains(&value("process_start_time_seconds")));
    assert!(value("process_cpu_seconds_total") >= 0.0);
}
