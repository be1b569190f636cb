//! Observing: beside two bare adds and a search over the same bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use danube_telemetry::{Closed, FamilyDecl, Histogram, Registry, Single, TraceContext};

use crate::field::{self, Case, Goal, Table};
use crate::keys::{BOUNDS, Method, Outcome, each_observation};
use crate::options::Options;

/// The floors: which search is quicker depends on the machine, and the quicker one
/// counts.
const HALVED: &str = "two bare adds, bounds halved";
const COUNTED: &str = "two bare adds, bounds counted";

static ONE: FamilyDecl = FamilyDecl::histogram("bench.one", "Without labels.", BOUNDS);
static CLOSED: FamilyDecl = FamilyDecl::histogram("bench.closed", "Two closed labels.", BOUNDS)
    .closed::<Method>("method")
    .closed::<Outcome>("outcome");

/// Prints the tables for one thread and two.
pub(crate) fn run(options: &Options) {
    for threads in [1, 2] {
        if threads > options.cores() {
            println!("\nhistogram, {threads} threads: left out, there is one core");
            continue;
        }
        let mut cases = ours();
        cases.extend(crate::peers::histogram::cases());
        if threads == 1 {
            options.pin();
        }
        let table = Table {
            title: &format!(
                "histogram with {} bounds, random times, {threads} thread(s)",
                BOUNDS.len()
            ),
            unit: (1.0, "ns each"),
            rounds: options.rounds,
            threads,
            case: &options.case,
        };
        field::run(&table, cases);
        options.unpin();
    }
}

/// Two atomics and nothing else.
struct Bare {
    bounds: &'static [f64],
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Bare {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            // As if it came from elsewhere: ours isn't compiled for these bounds either.
            bounds: std::hint::black_box(BOUNDS),
            buckets: (0..=BOUNDS.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        })
    }

    fn add(&self, bucket: usize, nanos: u64) {
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(nanos, Relaxed);
    }
}

fn floors() -> Vec<Case> {
    let (halved, counted) = (Bare::new(), Bare::new());
    vec![
        Case::new(HALVED, move |times, thread| {
            each_observation(times, thread, |it| {
                let at = halved.bounds.partition_point(|bound| *bound < it.seconds);
                halved.add(at, it.nanos);
            });
        }),
        Case::new(COUNTED, move |times, thread| {
            each_observation(times, thread, |it| {
                let above = counted.bounds.iter();
                let at = above.map(|bound| usize::from(it.seconds > *bound)).sum();
                counted.add(at, it.nanos);
            });
        }),
        Case::new("the loop alone", |times, thread| {
            each_observation(times, thread, |_| ());
        }),
    ]
}

fn ours() -> Vec<Case> {
    let registry = Registry::new();
    let one: Single<Histogram> = registry.add(&ONE);
    let closed: Closed<(Method, Outcome), Histogram> = registry.add(&CLOSED);
    let trace = TraceContext::random();
    let plain = one.clone();
    let all = one.clone();
    let mut cases = floors();
    cases.extend([
        Case::new("danube: held, no exemplar", move |times, thread| {
            each_observation(times, thread, |it| plain.observe(it.seconds));
        }),
        Case::new("danube: held, an exemplar in 16", move |times, thread| {
            each_observation(times, thread, |it| {
                one.observe_in(it.seconds, it.traced.then_some(&trace));
            });
        })
        .goal(Goal::Within(1.2, &[HALVED, COUNTED])),
        Case::new("danube: held, always an exemplar", move |times, thread| {
            each_observation(times, thread, |it| all.observe_in(it.seconds, Some(&trace)));
        }),
        Case::new(
            "danube: looked up each time, an exemplar in 16",
            move |times, thread| {
                each_observation(times, thread, |it| {
                    closed
                        .at((it.method, it.outcome))
                        .observe_in(it.seconds, it.traced.then_some(&trace));
                });
            },
        ),
    ]);
    cases
}
