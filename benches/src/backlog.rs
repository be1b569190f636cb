//! How much a second, with very many jobs waiting beside few.

use std::path::Path;
use std::time::{Duration, Instant};

use danube_bench::client::Client;
use danube_bench::figures::median;
use danube_bench::jobs::submit;
use danube_bench::server::{Server, settle};

use crate::{CLIENTS, Size, row};

/// Jobs that wait on the other side: enough that none of a round is the last.
const FEW: usize = 1_000;

/// Jobs of a round, after those of its beginning, which don't count.
const RUN: f64 = 800.0;
const WARM_UP: f64 = 50.0;

/// Times that each side has its turn.
const ROUNDS: usize = 3;

/// How often is asked how many have ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// No-op jobs a second with many waiting, beside [`FEW`]; and how long a killed master takes to
/// serve again with them.
pub(crate) fn backlog(program: &Path, size: Size) {
    let own = tempfile::tempdir_in("target").expect("run this where `target` is");
    let many = own.path().join("many");
    fill(program, &many, size.backlog);
    let (mut rates, mut ratios, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let few = own.path().join(format!("few-{round}"));
        fill(program, &few, FEW);
        settle();
        let (floor, _) = run(program, &few);
        settle();
        let (rate, start) = run(program, &many);
        rates.push(rate);
        ratios.push(rate / floor);
        starts.push(start.as_secs_f64() * 1_000.0);
    }
    let rate = median(&rates);
    row(
        &format!("no-op jobs/s, {} waiting | 1,000 waiting", size.backlog),
        rate,
        "/s",
        Some(rate / median(&ratios)),
    );
    row(
        "  start after a kill with them",
        median(&starts),
        "ms",
        None,
    );
}

/// Lets so many wait in a new directory. The master is killed.
fn fill(program: &Path, dir: &Path, count: usize) {
    let server = Server::start_in(program, dir, &["--jobs-at-once", "0"], &[]);
    submit(&server, count, CLIENTS);
}

/// Runs some of those that wait: how many a second, and how long the start took. The master is
/// killed.
fn run(program: &Path, dir: &Path) -> (f64, Duration) {
    let server = Server::start_in(program, dir, &[], &[]);
    let mut client = Client::new(&server);
    let first = until_ended(&mut client, WARM_UP);
    let began = Instant::now();
    let last = until_ended(&mut client, first + RUN);
    (
        (last - first) / began.elapsed().as_secs_f64(),
        server.started_in,
    )
}

/// Waits until so many have ended; how many it is then.
fn until_ended(client: &mut Client, count: f64) -> f64 {
    let series = "danube_jobs_total{status=\"success\",pipeline=\"bench\"} ";
    loop {
        let text = client.get("/metrics");
        let line = text.lines().find_map(|it| it.strip_prefix(series));
        let now = line.and_then(|it| it.parse().ok()).unwrap_or(0.0);
        if now >= count {
            return now;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
