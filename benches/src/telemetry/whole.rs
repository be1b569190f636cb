//! What telemetry costs a server that runs jobs: everything on beside everything off.
//!
//! Both servers live as long as the figure and take turns; the one whose turn it isn't
//! is stopped, so that what it would do in the background is paid for in its own turn.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use danube_bench::client::Client;
use danube_bench::figures::{digits, median, spread};
use danube_bench::jobs::{NO_OP, drained, submit};
use danube_bench::server::Server;
use rustix::process::{Pid, Signal, kill_process};

use crate::field::float;
use crate::options::Options;
use crate::sink::Sink;

/// The goal: at most so much fewer jobs a second.
const LOST_MAX: f64 = 0.03;

/// Clients that submit at once.
const CLIENTS: usize = 64;

const SCRAPE_EVERY: Duration = Duration::from_secs(1);

/// How long nothing may be heard of a scraper that was asked to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// As Prometheus asks.
const SCRAPE_HEADERS: &str = "accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\naccept-encoding: gzip\r\n";

/// Everything off.
const OFF: &[(&str, &str)] = &[
    ("DANUBE_OBSERVABILITY_LOG_LEVEL", "off"),
    ("DANUBE_OBSERVABILITY_METRICS_ENABLED", "false"),
    ("DANUBE_OBSERVABILITY_TRACES_ENABLED", "false"),
    ("DANUBE_OBSERVABILITY_LOGS_ENABLED", "false"),
];

/// Everything on; the collector's address is added. Metrics are pushed twelve times as
/// often as by default, so that it happens within the figure.
const ON: &[(&str, &str)] = &[
    ("DANUBE_OBSERVABILITY_LOG_LEVEL", "info"),
    ("DANUBE_OBSERVABILITY_LOG_FORMAT", "json"),
    ("DANUBE_OBSERVABILITY_METRICS_ENABLED", "true"),
    ("DANUBE_OBSERVABILITY_TRACES_ENABLED", "true"),
    ("DANUBE_OBSERVABILITY_LOGS_ENABLED", "true"),
    ("DANUBE_OBSERVABILITY_JOB_LOGS_ENABLED", "true"),
    ("DANUBE_OBSERVABILITY_OTEL_PROTOCOL", "http/protobuf"),
    ("DANUBE_OBSERVABILITY_METRICS_INTERVAL_SECONDS", "5"),
];

/// What goes on with one of the two.
struct Side {
    server: Server,
    scraped: AtomicUsize,
    is_scraped: bool,
    /// Jobs a second and processor milliseconds a job of each pass.
    speed: Vec<f64>,
    processor: Vec<f64>,
}

/// Prints the figure.
pub(crate) fn run(options: &Options) {
    if !options.danube.exists() {
        println!(
            "\nwhole job: not there, build {} first",
            options.danube.display()
        );
        return;
    }
    let dir = tempfile::tempdir_in("target").expect("run this where `target` is");
    let sink = Sink::start();
    let endpoint = ("DANUBE_OBSERVABILITY_OTEL_ENDPOINT", sink.url.as_str());
    let settings = if options.control {
        OFF.to_vec()
    } else {
        [ON, &[endpoint]].concat()
    };
    let is_scraped = !options.control;
    let mut on = side(
        &options.danube,
        &dir.path().join("on"),
        &settings,
        is_scraped,
    );
    let beside = options.beside.as_ref().unwrap_or(&options.danube);
    let mut off = side(beside, &dir.path().join("off"), OFF, false);
    for pair in 0..=options.pairs {
        // Who goes first changes, so that neither always has the warmer machine.
        let turns = if pair % 2 == 0 {
            [&mut on, &mut off]
        } else {
            [&mut off, &mut on]
        };
        for side in turns {
            turn(side, options.jobs, pair > 0);
        }
    }
    print(options, &on, &off);
    if options.control {
        println!("  a control: both had everything off");
        if let Some(beside) = &options.beside {
            println!("  `off` is {}", beside.display());
        }
    } else {
        told(dir.path(), &on, &off, &sink);
    }
}

fn side(program: &Path, dir: &Path, settings: &[(&str, &str)], is_scraped: bool) -> Side {
    fs::create_dir_all(dir).expect("make a directory");
    let log = File::create(dir.join("server.log")).expect("make a file");
    let server = Server::start_quiet(program, &dir.join("data"), log, settings);
    let side = Side {
        server,
        scraped: AtomicUsize::new(0),
        is_scraped,
        speed: Vec::new(),
        processor: Vec::new(),
    };
    signal(&side, Signal::STOP);
    side
}

fn signal(side: &Side, signal: Signal) {
    let pid = i32::try_from(side.server.pid())
        .ok()
        .and_then(Pid::from_raw);
    kill_process(pid.expect("it runs"), signal).expect("it is our own");
}

/// Lets it run so many jobs, and takes down how it went.
fn turn(side: &mut Side, jobs: usize, counts: bool) {
    signal(side, Signal::CONT);
    let stop = AtomicBool::new(false);
    let shared = &*side;
    let (used, began) = (processor_millis(side.server.pid()), Instant::now());
    let took = std::thread::scope(|scope| {
        if shared.is_scraped {
            scope.spawn(|| scrape(shared, &stop));
        }
        submit(&shared.server, jobs, CLIENTS);
        drained(&shared.server);
        let took = began.elapsed();
        stop.store(true, Ordering::Relaxed);
        took
    });
    let used = processor_millis(side.server.pid()) - used;
    signal(side, Signal::STOP);
    if counts {
        side.speed.push(float(jobs) / took.as_secs_f64());
        side.processor.push(used / float(jobs));
    }
}

/// At the beginning, and then each second.
fn scrape(side: &Side, stop: &AtomicBool) {
    let mut client = Client::new(&side.server);
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if Instant::now() < due {
            std::thread::sleep(LOOK_EVERY);
            continue;
        }
        let (status, body) = client.get_bytes("/metrics", SCRAPE_HEADERS);
        assert_eq!(status, 200, "the scrape was refused");
        assert!(!body.is_empty(), "the scrape was empty");
        side.scraped.fetch_add(1, Ordering::Relaxed);
        due += SCRAPE_EVERY;
    }
}

/// Processor time of the process and of its children that have ended.
fn processor_millis(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold anything; what follows its bracket are numbers.
    let rest = text.rsplit_once(") ").map_or("", |it| it.1);
    let fields = rest.split(' ').skip(11).take(4);
    let ticks: f64 = fields.filter_map(|it| it.parse::<f64>().ok()).sum();
    #[expect(clippy::cast_precision_loss, reason = "it is 100")]
    let a_second = rustix::param::clock_ticks_per_second() as f64;
    ticks / a_second * 1e3
}

fn print(options: &Options, on: &Side, off: &Side) {
    println!(
        "\nwhole job: {} pairs of {} jobs of `{NO_OP}`, {CLIENTS} clients; JSON log at info to a file, a scrape each second, OTLP push of metrics, logs, job logs and traces, beside everything off",
        options.pairs, options.jobs
    );
    println!(
        "  {:<12} {:>26} {:>34}",
        "", "jobs/s (min-max)", "processor ms a job (min-max)"
    );
    for (name, side) in [("off", off), ("on", on)] {
        println!(
            "  {name:<12} {:>26} {:>34}",
            spread(&side.speed),
            spread(&side.processor)
        );
    }
    let ratios = |on: &[f64], off: &[f64]| -> Vec<f64> {
        let mut all: Vec<f64> = on.iter().zip(off).map(|(on, off)| on / off).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let speed = ratios(&on.speed, &off.speed);
    let processor = ratios(&on.processor, &off.processor);
    let quarter = |of: &[f64], at: usize| of[(of.len() - 1) * at / 4];
    let lost = 1.0 - median(&speed);
    let met = if lost <= LOST_MAX { "met" } else { "MISSED" };
    println!(
        "  jobs a second, on by off: {} (half of the pairs {} to {}); lost {} % (<= {} %): {met}",
        digits(median(&speed)),
        digits(quarter(&speed, 1)),
        digits(quarter(&speed, 3)),
        digits(lost * 100.0),
        LOST_MAX * 100.0
    );
    println!(
        "  processor time a job, on by off: {} (half of the pairs {} to {})",
        digits(median(&processor)),
        digits(quarter(&processor, 1)),
        digits(quarter(&processor, 3)),
    );
}

/// Shows that what was on did something and what was off nothing.
fn told(dir: &Path, on: &Side, off: &Side, sink: &Sink) {
    let lines = |name: &str| {
        let text = fs::read(dir.join(name).join("server.log")).expect("read the log");
        memchr::memchr_iter(b'\n', &text).count()
    };
    signal(off, Signal::CONT);
    let (status, _) = Client::new(&off.server).get_bytes("/metrics", "");
    println!(
        "  on: {} log lines, {} scrapes; off: {} log lines, /metrics answers {status}",
        lines("on"),
        on.scraped.load(Ordering::Relaxed),
        lines("off"),
    );
    let taken = sink.taken();
    for path in ["/v1/metrics", "/v1/logs", "/v1/traces"] {
        match taken.get(path) {
            Some(it) => println!(
                "  collector: {path} {} messages, {} KiB",
                it.messages,
                it.bytes >> 10
            ),
            None => {
                println!("  collector: {path} NOTHING CAME, so that its cost isn't in the figure");
            }
        }
    }
    signal(on, Signal::CONT);
}
