//! Counting: beside one bare atomic, and beside others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use danube_telemetry::metric::LabelEnum;
use danube_telemetry::{Closed, Counter, FamilyDecl, Open, Registry, Striped};

use crate::field::{self, Case, Goal, Table};
use crate::keys::{CELLS, METHODS, Method, OUTCOMES, Outcome, cell, each_key};
use crate::options::Options;

/// The floor of the goal.
const BARE: &str = "bare fetch_add, one cell";

/// What ours is to beat.
pub(crate) const FAMILY_OF_PROMETHEUS_CLIENT: &str = "prometheus-client: looked up each time";

static CLOSED: FamilyDecl = FamilyDecl::counter("bench.closed", "Two closed labels.")
    .closed::<Method>("method")
    .closed::<Outcome>("outcome");
static STRIPED: FamilyDecl = FamilyDecl::counter("bench.striped", "Two closed labels, by thread.")
    .closed::<Method>("method")
    .closed::<Outcome>("outcome");
static OPEN: FamilyDecl = FamilyDecl::counter("bench.open", "One closed label, one open.")
    .closed::<Outcome>("outcome")
    .bounded("method");

/// Prints the tables for one thread and two.
pub(crate) fn run(options: &Options) {
    for threads in [1, 2] {
        if threads > options.cores() {
            println!("\ncounter, {threads} threads: left out, there is one core");
            continue;
        }
        let mut cases = ours(threads);
        cases.extend(crate::peers::counter::cases());
        if threads == 1 {
            options.pin();
        }
        let table = Table {
            title: &format!(
                "counter with two closed labels, {CELLS} cells in random order, {threads} thread(s)"
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

/// Made anew for each table; the registry lives as long as the process. Cells that threads
/// share are for what one of them moves: two are asked of those that each has of its own.
fn ours(threads: usize) -> Vec<Case> {
    let registry = Registry::new();
    let one = Arc::new(AtomicU64::new(0));
    let cells: Arc<[AtomicU64]> = (0..CELLS).map(|_| AtomicU64::new(0)).collect();
    let closed: Closed<(Method, Outcome), Counter> = registry.add(&CLOSED);
    let striped: Striped<(Method, Outcome)> = registry.add(&STRIPED);
    let open: Open<1, Outcome, Counter> = registry.add(&OPEN);
    let held = closed.clone();
    let shared = Case::new("danube: looked up each time", move |times, thread| {
        each_key(times, thread, |method, outcome| {
            closed.at((method, outcome)).inc();
        });
    })
    .goal(Goal::Faster(4.0, FAMILY_OF_PROMETHEUS_CLIENT));
    let shared = if threads == 1 {
        shared.goal(Goal::Within(1.0, &[BARE]))
    } else {
        shared
    };
    let held_open: Vec<_> = METHODS.iter().map(|it| open.with([it.as_str()])).collect();
    vec![
        Case::new(BARE, move |times, thread| {
            each_key(times, thread, |_, _| {
                one.fetch_add(1, Relaxed);
            });
        }),
        Case::new(
            format!("bare fetch_add, {CELLS} cells"),
            move |times, thread| {
                each_key(times, thread, |method, outcome| {
                    cells[cell(method, outcome)].fetch_add(1, Relaxed);
                });
            },
        ),
        Case::new("the loop alone", |times, thread| {
            each_key(times, thread, |_, _| ());
        }),
        Case::new("danube: one held handle", move |times, thread| {
            let handle = held.at((METHODS[0], OUTCOMES[0]));
            each_key(times, thread, |_, _| handle.inc());
        }),
        shared,
        Case::new(
            "danube: looked up each time, cells by thread",
            move |times, thread| {
                each_key(times, thread, |method, outcome| {
                    striped.inc((method, outcome));
                });
            },
        )
        .goal(Goal::Within(1.0, &[BARE]))
        .goal(Goal::Faster(4.0, FAMILY_OF_PROMETHEUS_CLIENT)),
        Case::new(
            "danube: one closed, one open label, held handles",
            move |times, thread| {
                each_key(times, thread, |method, outcome| {
                    held_open[method.index()].at(outcome).inc();
                });
            },
        ),
        Case::new(
            "danube: one closed, one open label, looked up each time",
            move |times, thread| {
                each_key(times, thread, |method, outcome| {
                    open.record([method.as_str()], outcome, Counter::inc);
                });
            },
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_up_is_what_is_counted() {
        let registry = Registry::new();
        let closed: Closed<(Method, Outcome), Counter> = registry.add(&CLOSED);
        let striped: Striped<(Method, Outcome)> = registry.add(&STRIPED);
        each_key(1_000, 0, |method, outcome| {
            closed.at((method, outcome)).inc();
            striped.inc((method, outcome));
        });
        let all = METHODS
            .iter()
            .flat_map(|method| OUTCOMES.map(|it| (*method, it)));
        let (closed, striped): (Vec<u64>, Vec<u64>) = all
            .map(|key| (closed.at(key).get(), striped.get(key)))
            .unzip();
        assert_eq!(closed.iter().sum::<u64>(), 1_000);
        assert_eq!(closed, striped);
    }
}
