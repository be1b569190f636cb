//! The same work with Redis and without, in turns.

use std::path::Path;
use std::time::Instant;

use danube_bench::client::Client;
use danube_bench::jobs::{NO_OP, drained, submit};
use danube_bench::redis::{Redis, per_second};
use danube_bench::server::{Server, settle};
use danube_bench::worker::Worker;

use crate::{CLIENTS, Size, WORKERS, row};

/// A server without a worker of its own.
fn server(program: &Path, redis: Option<&Redis>) -> Server {
    let mut arguments = vec!["--jobs-at-once".to_owned(), "0".to_owned()];
    if let Some(redis) = redis {
        arguments.extend(["--queue-url".to_owned(), redis.url()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Server::start(program, &arguments, &[])
}

/// Submits a second, durable before each is answered.
pub(crate) fn submits(program: &Path, size: Size) {
    for clients in [1, CLIENTS] {
        let count = if clients == 1 {
            size.submits / 10
        } else {
            size.submits
        };
        let (mut with, mut without, mut floor) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..size.rounds {
            let redis = Redis::start();
            floor.push(redis.xadds(count, clients));
            for (redis, into) in [(Some(&redis), &mut with), (None, &mut without)] {
                settle();
                let server = server(program, redis);
                let began = Instant::now();
                submit(&server, count, clients);
                into.push(per_second(count, began));
            }
        }
        let against =
            |floor: &[f64]| -> Vec<f64> { with.iter().zip(floor).map(|(a, b)| a / b).collect() };
        let (of_floor, of_without) = (against(&floor), against(&without));
        row(
            &format!("submits/s with Redis, {clients} clients"),
            with,
            "/s",
        );
        row("  without", without, "/s");
        row("  raw XADD, each waiting for its answer", floor, "/s");
        row("  with Redis : without", of_without, "x");
        row("  with Redis : raw XADD", of_floor, "x");
    }
}

/// Jobs of a step that does nothing, on workers in processes of their own.
pub(crate) fn jobs(program: &Path, size: Size) {
    let figures = [
        "no-op jobs/s, submit to done, 4 workers, ",
        "submit → done, one after the other, p50, ",
    ];
    let (mut rates, mut waits) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..size.rounds {
        let redis = Redis::start();
        for (way, redis) in [Some(&redis), None].into_iter().enumerate() {
            settle();
            let server = server(program, redis);
            let mut variables = Vec::new();
            if let Some(redis) = redis {
                variables.push(("DANUBE_QUEUE_URL", redis.url()));
            }
            let names = (0..WORKERS).map(|it| format!("worker-{it}"));
            let workers: Vec<Worker> = names
                .map(|it| Worker::start(program, &server, &it, (&[], &variables)))
                .collect();
            let began = Instant::now();
            submit(&server, size.jobs, CLIENTS);
            drained(&server);
            rates[way].push(per_second(size.jobs, began));
            waits[way].push(latency(&server, size.latencies));
            drop(workers);
        }
    }
    for (way, name) in ["heard in Redis", "asked of the master"].iter().enumerate() {
        row(
            &format!("{}{name}", figures[0]),
            std::mem::take(&mut rates[way]),
            "/s",
        );
        row(
            &format!("{}{name}", figures[1]),
            std::mem::take(&mut waits[way]),
            "ms",
        );
    }
}

/// Median of the time from a submit to the end of its followed log, in milliseconds.
fn latency(server: &Server, count: usize) -> f64 {
    let mut client = Client::new(server);
    let mut times: Vec<f64> = (0..count)
        .map(|_| {
            let began = Instant::now();
            let id = client.submit(NO_OP);
            client.follow(&id, || {});
            began.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
