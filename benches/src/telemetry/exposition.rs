//! Scraping: time and bytes of the text, beside others, and what compression adds.

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use danube_telemetry::metric::{Context, LabelEnum, SeriesRoom};
use danube_telemetry::otlp::{Source, Value, encode_metrics};
use danube_telemetry::{
    Counter, FamilyDecl, Format, Histogram, Open, Registry, TraceContext, label_enum,
};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::field::{self, Case, Goal, Table};
use crate::keys::BOUNDS;
use crate::options::Options;

/// What ours is to beat.
pub(crate) const PROMETHEUS_CLIENT: &str = "prometheus-client, OpenMetrics";
pub(crate) const PROMETHEUS: &str = "prometheus, 0.0.4";

/// Series of the tables, and how a time is shown there.
const SIZES: [(usize, f64, &str); 3] = [
    (1_000, 1e3, "us"),
    (10_000, 1e3, "us"),
    (100_000, 1e6, "ms"),
];

/// Only at this size there is a goal.
const GOAL_SERIES: usize = 100_000;

/// As the server compresses.
const GZIP_LEVEL: u32 = 1;

/// Points of a message at most, and what a collector takes by default.
const POINTS_MAX: usize = 10_000;
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Histograms of their own table.
const HISTOGRAMS: usize = 1_000;

label_enum! {
    /// The closed label.
    #[derive(Hash)]
    pub(crate) enum Status {
        S0 = "pending",
        S1 = "scheduling",
        S2 = "running",
        S3 = "success",
        S4 = "failure",
        S5 = "timeout",
        S6 = "cancelled",
        S7 = "retried",
        S8 = "rescued",
        S9 = "skipped",
    }
}

pub(crate) const STATUSES: [Status; 10] = [
    Status::S0,
    Status::S1,
    Status::S2,
    Status::S3,
    Status::S4,
    Status::S5,
    Status::S6,
    Status::S7,
    Status::S8,
    Status::S9,
];

/// The help of all families.
pub(crate) const HELP: &str = "Jobs that reached this state.";

macro_rules! families {
    ($($name:literal),*) => {
        static FAMILIES: &[FamilyDecl] = &[$(
            FamilyDecl::counter($name, HELP).closed::<Status>("status").bounded("pipeline")
        ),*];
    };
}

families!(
    "bench.family_0.jobs",
    "bench.family_1.jobs",
    "bench.family_2.jobs",
    "bench.family_3.jobs",
    "bench.family_4.jobs",
    "bench.family_5.jobs",
    "bench.family_6.jobs",
    "bench.family_7.jobs",
    "bench.family_8.jobs",
    "bench.family_9.jobs"
);

static TIMES: FamilyDecl =
    FamilyDecl::histogram("bench.job.duration", "Time of a job.", BOUNDS).bounded("pipeline");

/// One series of a table.
pub(crate) struct Series {
    /// Which family.
    pub(crate) family: usize,
    pub(crate) status: Status,
    pub(crate) pipeline: String,
    pub(crate) value: u64,
}

/// So many series, spread over ten families with ten statuses each.
pub(crate) fn series(count: usize) -> Vec<Series> {
    let families = FAMILIES.len();
    let pipelines = count / families / STATUSES.len();
    let all = (0..families).flat_map(|family| {
        (0..pipelines).flat_map(move |pipeline| {
            STATUSES.map(|status| {
                let at = (family * pipelines + pipeline) * STATUSES.len() + status.index();
                Series {
                    family,
                    status,
                    pipeline: format!("team-{}/build-{pipeline:04}", pipeline % 20),
                    value: u64::try_from(at * 7_919 % 1_000_003).expect("it is small"),
                }
            })
        })
    });
    all.collect()
}

/// Name of a family without its end, as those want it who add the end themselves.
#[cfg(feature = "peers")]
pub(crate) fn family_name(family: usize) -> String {
    format!("bench_family_{family}_jobs")
}

/// Prints the tables.
pub(crate) fn run(options: &Options) {
    options.pin();
    // A pass holds a few scrapes at least, so that fewer rounds will do.
    let rounds = options.rounds.div_ceil(4);
    for (count, unit, name) in SIZES {
        let series = series(count);
        let expected: u64 = series.iter().map(|it| it.value).sum();
        let check = |text: &str| check(text, count, expected);
        let registry = registry(&series);
        let mut cases = ours(&registry, &check, count == GOAL_SERIES);
        cases.push(compressed(&registry));
        cases.push(pushed(&registry, count));
        cases.extend(crate::peers::exposition::cases(&series, &check));
        let table = Table {
            title: &format!(
                "scrape of {count} series: ten counter families, one closed and one open label"
            ),
            unit: (unit, name),
            rounds,
            threads: 1,
            case: &options.case,
        };
        field::run(&table, cases);
    }
    histograms(rounds, &options.case);
    options.unpin();
}

fn registry(series: &[Series]) -> Registry {
    let registry = Registry::with(Context {
        room: SeriesRoom::of(series.len()),
        ..Context::default()
    });
    let families: Vec<Open<1, Status, Counter>> =
        FAMILIES.iter().map(|decl| registry.add(decl)).collect();
    for it in series {
        families[it.family]
            .with([it.pipeline.as_str()])
            .at(it.status)
            .add(it.value);
    }
    registry
}

/// Asks for the text and looks whether all series are in it.
type Check<'a> = &'a dyn Fn(&str);

/// Both formats, into a buffer that is used again, as the server does it.
fn ours(registry: &Registry, check: Check<'_>, has_goal: bool) -> Vec<Case> {
    let text = registry.encode(Format::Text004);
    let bytes = text.len();
    let mut cases = vec![copied(text.into_bytes())];
    for (format, name, goal) in [
        (
            Format::Text004,
            "danube, 0.0.4",
            Goal::Faster(20.0, PROMETHEUS),
        ),
        (
            Format::OpenMetrics1,
            "danube, OpenMetrics",
            Goal::Faster(3.0, PROMETHEUS_CLIENT),
        ),
    ] {
        let text = registry.encode(format);
        check(&text);
        let case = encoded(registry, format, name).note(mega(text.len()));
        cases.push(if has_goal { case.goal(goal) } else { case });
    }
    cases[0] = std::mem::replace(&mut cases[0], Case::new("", |_, _| ())).note(mega(bytes));
    cases
}

fn encoded(registry: &Registry, format: Format, name: &str) -> Case {
    let registry = registry.clone();
    let buffer = Mutex::new(Vec::new());
    Case::new(name, move |times, _| {
        let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..times {
            buffer.clear();
            std::hint::black_box(registry.encode_into(format, &mut buffer));
        }
    })
}

/// The floor: the same text copied.
fn copied(text: Vec<u8>) -> Case {
    let to = Mutex::new(Vec::with_capacity(text.len()));
    Case::new("memcpy of the text", move |times, _| {
        let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..times {
            to.clear();
            to.extend_from_slice(std::hint::black_box(&text));
            std::hint::black_box(&mut *to);
        }
    })
}

/// What compressing the text adds, at the server's own level.
fn compressed(registry: &Registry) -> Case {
    let text = registry.encode(Format::OpenMetrics1);
    let compress = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL));
        let written = encoder.write_all(text);
        written
            .and_then(|()| encoder.finish())
            .expect("memory takes it")
    };
    let bytes = compress(text.as_bytes()).len();
    Case::new("gzip of danube's OpenMetrics, apart", move |times, _| {
        for _ in 0..times {
            std::hint::black_box(compress(text.as_bytes()));
        }
    })
    .note(mega(bytes))
}

/// The messages of a push, not compressed.
fn pushed(registry: &Registry, count: usize) -> Case {
    let registry = registry.clone();
    let source = Source {
        resource: vec![("service.name".into(), Value::Text("danube".to_owned()))],
        scope: "danube",
        version: "0",
    };
    let messages = encode_metrics(&registry, &source);
    assert!(
        messages.len() >= count.div_ceil(POINTS_MAX),
        "series are missing"
    );
    assert!(
        messages.iter().all(|it| it.len() < MESSAGE_BYTES_MAX),
        "a collector would refuse it"
    );
    let bytes = messages.iter().fold(0, |all, it| all + it.len());
    Case::new(
        format!("danube, OTLP in {} messages", messages.len()),
        move |times, _| {
            for _ in 0..times {
                std::hint::black_box(encode_metrics(&registry, &source));
            }
        },
    )
    .note(mega(bytes))
}

pub(crate) fn mega(bytes: usize) -> String {
    format!("{:.3} MB", field::float(bytes) / 1e6)
}

/// Nobody wins by leaving something out: as many samples as series, with their values.
fn check(text: &str, count: usize, sum: u64) {
    let samples = text
        .lines()
        .filter(|it| !it.starts_with('#') && !it.is_empty());
    let values: Vec<f64> = samples
        .map(|it| it.rsplit(' ').next().and_then(|it| it.parse().ok()))
        .map(|it| it.expect("a sample ends with its value"))
        .collect();
    assert_eq!(values.len(), count, "series are missing");
    #[expect(clippy::cast_precision_loss, reason = "all sums here are below 2^53")]
    let sum = sum as f64;
    let found: f64 = values.iter().sum();
    assert!((found - sum).abs() < 0.5, "values are wrong");
}

/// Histograms have lines enough for a table of their own.
fn histograms(rounds: usize, case: &str) {
    let registry = Registry::new();
    let times: Open<1, (), Histogram> = registry.add(&TIMES);
    let trace = TraceContext::random();
    for pipeline in 0..HISTOGRAMS {
        let name = format!("build-{pipeline:04}");
        for bound in BOUNDS {
            times.with([&name]).observe_in(*bound * 0.9, Some(&trace));
        }
    }
    let text = registry.encode(Format::Text004);
    let lines = (BOUNDS.len() + 3) * HISTOGRAMS;
    assert_eq!(
        text.lines().filter(|it| !it.starts_with('#')).count(),
        lines,
        "lines are missing"
    );
    let open = registry.encode(Format::OpenMetrics1);
    assert_eq!(
        open.matches(" # {trace_id=").count(),
        BOUNDS.len() * HISTOGRAMS,
        "exemplars are missing"
    );
    let mut cases = vec![copied(text.clone().into_bytes()).note(mega(text.len()))];
    cases.push(encoded(&registry, Format::Text004, "danube, 0.0.4").note(mega(text.len())));
    cases.push(
        encoded(
            &registry,
            Format::OpenMetrics1,
            "danube, OpenMetrics, an exemplar in each bucket",
        )
        .note(mega(open.len())),
    );
    cases.extend(crate::peers::exposition::histograms(HISTOGRAMS));
    let table = Table {
        title: &format!(
            "scrape of {HISTOGRAMS} histograms with {} bounds, {lines} lines",
            BOUNDS.len()
        ),
        unit: (1e3, "us"),
        rounds,
        threads: 1,
        case,
    };
    field::run(&table, cases);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_series_are_there_and_one_that_is_not_is_found_out() {
        let series = series(1_000);
        let sum = series.iter().map(|it| it.value).sum();
        let text = registry(&series).encode(Format::Text004);
        check(&text, 1_000, sum);
        let without_last = text.trim_end().rsplit_once('\n').expect("many lines").0;
        assert!(std::panic::catch_unwind(|| check(without_last, 1_000, sum)).is_err());
        assert!(std::panic::catch_unwind(|| check(&text, 1_000, sum + 1)).is_err());
    }
}
