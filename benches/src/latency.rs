//! How soon a job starts, and how soon its first byte is seen.

use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::{Size, floor, row};
use danube_bench::client::Client;
use danube_bench::server::{Server, settle};

/// Prints the wall clock: the time at which the step really ran.
const SCRIPT: &str = "date +%s%N";

pub(crate) fn both(program: &Path, size: Size) {
    let floor = floor::shell_millis(SCRIPT, size.latencies);
    settle();
    let server = Server::start(program, &[], &[]);
    let (mut poster, mut reader) = (Client::new(&server), Client::new(&server));
    let (mut starts, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..size.latencies {
        let (wall, began) = (SystemTime::now(), Instant::now());
        let id = poster.submit(SCRIPT);
        let mut first = 0.0;
        let log = reader.follow(&id, || first = began.elapsed().as_secs_f64() * 1_000.0);
        let ran: u128 = String::from_utf8(log)
            .expect("text")
            .trim()
            .parse()
            .expect("nanoseconds");
        let sent = wall
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_nanos();
        #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
        starts.push(ran.saturating_sub(sent) as f64 / 1e6);
        bytes.push(first);
    }
    let floor = sorted(floor);
    for (name, values) in [
        ("submit to the step's own clock", sorted(starts)),
        ("submit to first log byte at a follower", sorted(bytes)),
    ] {
        for percent in [50, 99] {
            let of = |values: &[f64]| values[(values.len() - 1) * percent / 100];
            row(
                &format!("{name}, p{percent} | bare spawn of the same"),
                of(&values),
                "ms",
                Some(of(&floor)),
            );
        }
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}
