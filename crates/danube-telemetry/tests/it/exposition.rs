//! Exemplars, start times, hostile label values, and scrapes while others record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use danube_telemetry::metric::{Context, OTHER, Sample, SeriesRoom, pairs};
use danube_telemetry::{
    Closed, Counter, Expiring, FamilyDecl, Format, Histogram, Open, Registry, Single, TraceContext,
    label_enum,
};

use crate::text::{Line, read};

label_enum! {
    enum Status { Good = "good", Bad = "bad" }
}
static JOBS: FamilyDecl = FamilyDecl::counter("jobs", "Jobs.")
    .closed::<Status>("status")
    .bounded("pipeline");
static CALLS: FamilyDecl = FamilyDecl::counter("calls", "Calls.").closed::<Status>("status");
static WAIT: FamilyDecl = FamilyDecl::histogram("wait", "Waits.", &[0.1, 1.0, 10.0]);
static STEP: FamilyDecl = FamilyDecl::histogram("step", "Steps.", &[0.5]).bounded("pipeline");
static BYTES: FamilyDecl = FamilyDecl::counter("bytes", "Bytes.").expiring("job_id");
static HTTP: FamilyDecl = FamilyDecl::counter("http", "Requests.")
    .sparse("method")
    .bounded("route");
static OVERFLOW: FamilyDecl = FamilyDecl::counter("overflow", "Overflow.").bounded("family");

const FORMATS: [Format; 2] = [Format::Text004, Format::OpenMetrics1];

fn find<'a>(lines: &'a [Line], name: &str, label: (&str, &str)) -> &'a Line {
    lines
        .iter()
        .find(|it| it.name == name && it.labels.get(label.0).is_some_and(|it| it == label.1))
        .unwrap_or_else(|| panic!("{name} with {label:?} in {lines:?}"))
}

#[test]
fn openmetrics_shows_the_last_recorded_trace_of_each_bucket_and_prometheus_text_none() {
    let registry = Registry::new();
    let wait: Single<Histogram> = registry.add(&WAIT);
    let (first, last) = (TraceContext::random(), TraceContext::random());
    let unrecorded = TraceContext { flags: 0, ..first };
    wait.observe_in(0.5, Some(&first));
    wait.observe_duration_in(Duration::from_millis(250), Some(&last));
    wait.observe_in(5.0, Some(&unrecorded));
    wait.observe_in(50.0, Some(&first));
    wait.observe_in(0.01, None);

    let lines = read(&registry.encode(Format::OpenMetrics1), Format::OpenMetrics1);
    let exemplar = |le| {
        find(&lines, "wait_seconds_bucket", ("le", le))
            .exemplar
            .clone()
    };
    let seen = exemplar("1.0").unwrap();
    let expected = [
        ("span_id".to_owned(), last.span_hex()),
        ("trace_id".to_owned(), last.trace_hex()),
    ];
    assert_eq!(seen.labels, BTreeMap::from(expected));
    assert_eq!(seen.value.to_bits(), 0.25_f64.to_bits());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let age = now.as_secs_f64() - seen.seconds;
    assert!((-1.0..60.0).contains(&age), "{age} s old");
    let above = exemplar("+Inf").unwrap();
    assert_eq!(above.labels["trace_id"], first.trace_hex());
    assert_eq!(exemplar("0.1"), None, "it had no trace");
    assert_eq!(exemplar("10.0"), None, "its trace isn't recorded");

    let text = registry.encode(Format::Text004);
    assert!(
        read(&text, Format::Text004)
            .iter()
            .all(|it| it.exemplar.is_none())
    );
    assert!(!text.contains("trace_id") && !text.contains("_created"));
}

fn starts(registry: &Registry) -> BTreeMap<String, u64> {
    let mut starts = BTreeMap::new();
    registry.collect(&mut |family| {
        family.visit(&mut |series| {
            let label = pairs(series.labels).pop().map(|(_, value)| value);
            let before = starts.insert(label.unwrap_or_default(), series.start_unix_nanos);
            assert_eq!(before, None);
        });
    });
    starts
}

/// Polls until the coarse clock has moved on, so that a later start can be told.
fn tick() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (began, patience) = (now(), Instant::now() + Duration::from_secs(10));
    // The coarse clock moves with the kernel's tick, at least a hundred times a second.
    while now() < began + Duration::from_millis(20) {
        assert!(Instant::now() < patience, "the clock stands still");
        thread::yield_now();
    }
}

#[test]
fn a_series_that_is_made_later_or_again_counts_from_then() {
    let now = Arc::new(std::sync::Mutex::new(Instant::now()));
    let clock = {
        let now = Arc::clone(&now);
        Arc::new(move || *now.lock().unwrap())
    };
    let registry = Registry::with(Context {
        clock,
        ..Context::default()
    });
    let bytes: Expiring<Counter> = registry.add(&BYTES);
    let steps: Open<1, (), Histogram> = registry.add(&STEP);
    bytes.open("1").inc();
    steps.with(["a"]).observe(1.0);
    let first = starts(&registry);
    tick();
    steps.with(["b"]).observe(1.0);
    steps.with(["a"]).observe(1.0);
    *now.lock().unwrap() += Duration::from_secs(600);
    assert!(!starts(&registry).contains_key("1"));
    bytes.open("1").inc();
    let then = starts(&registry);
    assert_eq!(then["a"], first["a"]);
    assert!(then["b"] > first["a"], "made later");
    assert!(then["1"] > first["1"], "made again");
}

const HOSTILE: &[&str] = &[
    "",
    " ",
    "\"",
    "\\",
    "\\\"",
    "\n",
    "\\n",
    "\r\n",
    "a\n# TYPE jobs gauge",
    "x\",pipeline=\"y",
    "\"} 1\njobs_total{pipeline=\"forged\"} 7",
    "}",
    "{},=\"",
    " # {trace_id=\"0\"} 1 2",
    "# EOF\n",
    "\0\u{1}\u{1b}[31m\u{7f}",
    "\u{2028}\u{2029}\u{85}\u{feff}",
    "é\u{301}👩\u{200d}🚒",
    "__other__",
    "le",
    "<script>alert(1)</script>",
];

#[test]
fn hostile_label_values_are_read_back_as_they_were_and_forge_nothing() {
    let registry = Registry::new();
    let jobs: Open<1, Status, Counter> = registry.add(&JOBS);
    let steps: Open<1, (), Histogram> = registry.add(&STEP);
    let bytes: Expiring<Counter> = registry.add(&BYTES);
    let mut held = Vec::new();
    for (n, value) in (1..).zip(HOSTILE) {
        jobs.with([value]).at(Status::Good).add(n);
        steps
            .with([value])
            .observe_in(0.1, Some(&TraceContext::random()));
        let handle = bytes.open(value);
        handle.add(n);
        held.push(handle);
    }
    for format in FORMATS {
        let lines = read(&registry.encode(format), format);
        let mut families = BTreeMap::<&str, Vec<(&str, f64)>>::new();
        for line in &lines {
            let value = line.labels.get("pipeline").or(line.labels.get("job_id"));
            if line.labels.get("status").is_none_or(|it| it == "good")
                && !line.labels.contains_key("le")
            {
                let family = families.entry(&line.name).or_default();
                family.push((value.unwrap(), line.value));
            }
        }
        for name in ["jobs_total", "bytes_total"] {
            let seen: BTreeMap<&str, f64> = families[name].iter().copied().collect();
            let sent = HOSTILE.iter().copied().zip((1..).map(f64::from));
            assert_eq!(seen, sent.collect(), "{name}");
        }
        assert_eq!(families["step_seconds_count"].len(), HOSTILE.len());
    }
    let mut values = Vec::new();
    registry.collect(&mut |family| {
        family.visit(&mut |series| {
            for (name, value) in pairs(series.labels) {
                values.extend((name == "job_id").then_some(value));
            }
        });
    });
    let mut sent: Vec<String> = HOSTILE.iter().map(|it| (*it).to_owned()).collect();
    values.sort();
    sent.sort();
    assert_eq!(values, sent, "what other exports read");
}

#[test]
fn values_that_look_alike_when_joined_are_two_series() {
    let registry = Registry::new();
    let http: Open<2, (), Counter> = registry.add(&HTTP);
    for values in [["ab", "c"], ["a", "bc"], ["abc", ""], ["", "abc"]] {
        http.with(values).inc();
        http.record(values, (), Counter::inc);
    }
    let lines = read(&registry.encode(Format::Text004), Format::Text004);
    let counts: Vec<f64> = lines.iter().map(|it| it.value).collect();
    assert_eq!(counts, [2.0; 4]);
}

#[test]
fn the_order_of_series_is_that_of_their_values_however_they_came() {
    let texts = [["b", "a", "c", "aa"], ["c", "aa", "b", "a"]].map(|order| {
        let registry = Registry::new();
        let jobs: Open<1, Status, Counter> = registry.add(&JOBS);
        for (n, name) in order.iter().enumerate() {
            jobs.with([name]).at(Status::Good).inc();
            if n == 2 {
                // A reader in between must not keep an old order.
                assert_eq!(
                    read(&registry.encode(Format::Text004), Format::Text004).len(),
                    6
                );
            }
        }
        registry.encode(Format::Text004)
    });
    assert_eq!(texts[0], texts[1]);
    let lines = read(&texts[0], Format::Text004);
    let order: Vec<&str> = lines.iter().map(|it| &*it.labels["pipeline"]).collect();
    assert_eq!(order, ["a", "a", "aa", "aa", "b", "b", "c", "c"]);
}

#[test]
fn thousands_of_series_keep_a_cell_each() {
    let registry = Registry::with(Context {
        series_max: Some(3_000),
        ..Context::default()
    });
    let jobs: Open<1, Status, Counter> = registry.add(&JOBS);
    for n in 1..=3_000 {
        let pipeline = format!("p{n}");
        jobs.with([&pipeline]).at(Status::Good).add(n);
        jobs.record([&pipeline], Status::Bad, |cell| cell.add(2 * n));
    }
    let lines = read(&registry.encode(Format::Text004), Format::Text004);
    assert_eq!(lines.len(), 6_000);
    for line in lines {
        let n: f64 = line.labels["pipeline"][1..].parse().unwrap();
        let times = if line.labels["status"] == "good" {
            1.0
        } else {
            2.0
        };
        assert_eq!(line.value.to_bits(), (n * times).to_bits());
    }
}

#[test]
fn all_families_share_the_room_of_the_process_and_get_it_back_when_ids_expire() {
    let start = Instant::now();
    let now = Arc::new(std::sync::Mutex::new(start));
    let clock = {
        let now = Arc::clone(&now);
        Arc::new(move || *now.lock().unwrap())
    };
    let registry = Registry::with(Context {
        clock,
        series_max: None,
        // A pipeline takes two, for the two values of its closed label.
        room: SeriesRoom::of(4),
    });
    let jobs: Open<1, Status, Counter> = registry.add(&JOBS);
    let bytes: Expiring<Counter> = registry.add(&BYTES);
    registry.add_overflow(&OVERFLOW);
    jobs.with(["a"]).at(Status::Good).inc();
    let held = [bytes.open("1"), bytes.open("2")];
    for pipeline in ["b", "c", "b"] {
        jobs.record([pipeline], Status::Good, Counter::inc);
    }
    let more = [bytes.open("3"), bytes.open("4")];
    more[1].inc();
    let value = |selector: &str| registry.value(selector);
    let other = format!("jobs_total{{status=\"good\",pipeline=\"{OTHER}\"}}");
    assert_eq!(value(&other), Some(3.0));
    assert_eq!(value("bytes_total{job_id=\"3\"}"), None);
    assert_eq!(
        value(&format!("bytes_total{{job_id=\"{OTHER}\"}}")),
        Some(1.0)
    );
    assert_eq!(value("overflow_total{family=\"jobs_total\"}"), Some(3.0));
    assert_eq!(value("overflow_total{family=\"bytes_total\"}"), Some(2.0));

    drop((held, more));
    *now.lock().unwrap() = start + Duration::from_secs(600);
    // Two ids took room and two shared; what comes back is what was taken.
    let again = ["5", "6", "7"].map(|id| bytes.open(id));
    assert_eq!(value("bytes_total{job_id=\"6\"}"), Some(0.0));
    assert_eq!(value("bytes_total{job_id=\"7\"}"), None);
    drop(again);
}

/// Checks one scrape against the one before: what was counted stays counted.
fn compare(lines: &[Line], before: &mut BTreeMap<String, f64>) {
    let mut last_bucket = None;
    let mut below = 0.0;
    for line in lines {
        let series = format!("{}{:?}", line.name, line.labels);
        let known = before.insert(series, line.value).unwrap_or_default();
        assert!(line.value >= known, "{line:?} after {known}");
        if line.name.ends_with("_bucket") {
            assert!(line.value >= below, "{line:?} after a bucket with {below}");
            below = line.value;
            last_bucket = Some(line.value);
        } else if line.name.ends_with("_count") {
            assert_eq!(last_bucket.take(), Some(line.value), "{line:?}");
            below = 0.0;
        }
    }
}

#[test]
fn while_others_record_no_value_goes_backwards_and_a_count_is_its_last_bucket() {
    const SCRAPES: usize = 150;
    let registry = Registry::with(Context {
        series_max: Some(50),
        ..Context::default()
    });
    let calls: Closed<Status, Counter> = registry.add(&CALLS);
    let jobs: Open<1, Status, Counter> = registry.add(&JOBS);
    let wait: Single<Histogram> = registry.add(&WAIT);
    let steps: Open<1, (), Histogram> = registry.add(&STEP);
    let is_over = AtomicBool::new(false);
    let mut before = BTreeMap::new();
    thread::scope(|scope| {
        for thread in 0_u32..3 {
            let (calls, jobs, wait, steps) = (&calls, &jobs, &wait, &steps);
            let is_over = &is_over;
            scope.spawn(move || {
                let trace = TraceContext::random();
                for n in 0_u32.. {
                    if is_over.load(Relaxed) {
                        break;
                    }
                    calls.at(Status::Good).inc();
                    let value = f64::from(n % 23);
                    wait.observe_in(value, Some(&trace));
                    // New series come all the time, and some find no room.
                    let pipeline = format!("p{}", (n / 50 + thread) % 70);
                    jobs.with([&pipeline]).at(Status::Bad).inc();
                    steps.record([&pipeline], (), |cell| cell.observe_in(value, Some(&trace)));
                }
            });
        }
        for scrape in 0..SCRAPES {
            let format = FORMATS[scrape % 2];
            compare(&read(&registry.encode(format), format), &mut before);
        }
        is_over.store(true, Relaxed);
    });
    let lines = read(&registry.encode(Format::Text004), Format::Text004);
    compare(&lines, &mut before);
    let sum = |name: &str| -> f64 {
        let of_name = lines.iter().filter(|it| it.name == name);
        of_name.map(|it| it.value).sum()
    };
    let all = sum("calls_total");
    assert!(all > 0.0);
    for name in ["jobs_total", "wait_seconds_count", "step_seconds_count"] {
        assert_eq!(
            sum(name).to_bits(),
            all.to_bits(),
            "{name}: nothing is lost"
        );
    }
    let mut histograms = 0;
    registry.collect(&mut |family| {
        family.visit(&mut |series| {
            histograms += usize::from(matches!(series.sample, Sample::Histogram(_)));
        });
    });
    assert!(
        histograms <= 52,
        "{histograms} are more than the limit and its stand-in"
    );
}
