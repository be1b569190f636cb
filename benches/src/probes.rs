//! What a storm of probes costs: a thousand readiness probes a second beside submits.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::load::submits_a_second;
use crate::{Size, median, row};
use danube_bench::client::Client;
use danube_bench::server::Server;

/// Time between two probes.
const PROBE_EVERY: Duration = Duration::from_millis(1);

/// Rounds with and without, one after the other, of which the medians count.
const ROUNDS: usize = 5;

pub(crate) fn storm(program: &Path, size: Size) {
    let server = Server::start(program, &["--jobs-at-once", "0"], &[]);
    let (mut alone, mut beside, mut probes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(submits_a_second(&server, size));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let storm = scope.spawn(|| probe(&server, &stop));
            beside.push(submits_a_second(&server, size));
            stop.store(true, Ordering::Relaxed);
            probes.extend(storm.join().expect("the storm ends"));
        });
    }
    row(
        "submits/s beside 1,000 probes/s | the same without them",
        median(beside),
        "/s",
        Some(median(alone)),
    );
    probes.sort_by(f64::total_cmp);
    for percent in [50, 99] {
        let value = probes[(probes.len() - 1) * percent / 100];
        row(
            &format!("  a probe among them, p{percent}"),
            value,
            "ms",
            None,
        );
    }
}

/// Milliseconds that each probe took; one that comes late isn't made up for.
fn probe(server: &Server, stop: &AtomicBool) -> Vec<f64> {
    let mut client = Client::new(server);
    let mut took = Vec::new();
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let (status, _) = client.get_bytes("/health/ready", "");
        assert_eq!(status, 200);
        took.push(asked.elapsed().as_secs_f64() * 1e3);
        due = (due + PROBE_EVERY).max(asked);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    took
}
