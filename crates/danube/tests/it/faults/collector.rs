//! A collector that is away for a minute while jobs run.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::row::row;
use crate::collector::{Answer, Collector};
use crate::otlp::{MEMORY_BYTES_MAX, NOISY, dropped, has_event, keep_busy, master};
use crate::processes::memory;

/// How long it is away, or as good as away.
const AWAY: Duration = Duration::from_secs(60);

/// Runs jobs for [`AWAY`]; memory has grown no further at the end than at half of it,
/// but for the slack of an allocator.
fn for_a_minute(master: &crate::master::Master) {
    const SLACK_BYTES: u64 = 16 * 1024 * 1024;
    let (since, at_half) = (Instant::now(), Cell::new(0));
    let before = memory(master.pid(), "VmRSS");
    // Each round is short: a job, and requests that are answered.
    while since.elapsed() < AWAY {
        keep_busy(master, |_| true);
        if at_half.get() == 0 && since.elapsed() > AWAY / 2 {
            at_half.set(memory(master.pid(), "VmRSS"));
        }
    }
    let after = memory(master.pid(), "VmRSS");
    assert!(after < before + MEMORY_BYTES_MAX, "{before} to {after}");
    assert!(
        after < at_half.get() + SLACK_BYTES,
        "{} to {after}",
        at_half.get()
    );
}

#[test]
#[ignore = "takes minutes; `make faults` runs it"]
fn a_collector_that_is_away_for_a_minute_costs_a_bounded_buffer() {
    let row = row!("a collector or receiver gone bad");
    let address = Collector::grpc().address();
    let master = master(&format!("http://{address}"), "grpc", NOISY);
    for_a_minute(&master);
    let collector = Collector::grpc_at(address);
    collector.wait_for("metrics", |it| it.metric("danube.jobs").pop());
    collector.wait_for("new lines", |it| has_event(it, "job_completed"));
    master.event(|it| it["event"] == "otlp_export_recovered");
    row.held(1, "");
}

#[test]
#[ignore = "takes minutes; `make faults` runs it"]
fn a_collector_that_never_answers_or_refuses_for_a_minute_costs_a_bounded_buffer() {
    let row = row!("a collector or receiver gone bad");
    for answer in [Answer::Never, Answer::Unavailable { waits: false }] {
        let collector = Collector::http();
        collector.answer(answer);
        let url = format!("http://{}", collector.address());
        let master = master(&url, "http/protobuf", NOISY);
        for_a_minute(&master);
        assert!(dropped(&master, "metric") > 0.0);
        collector.answer(Answer::Ok);
        collector.wait_for("metrics", |it| it.metric("danube.jobs").pop());
        master.event(|it| it["event"] == "otlp_export_recovered");
    }
    row.held(2, "");
}
