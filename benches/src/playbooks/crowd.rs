//! Many playbooks that wait, and a few workers in processes of their own: all must be done,
//! each once, and nobody's memory may grow with what was done.

use std::fs;
use std::time::Instant;

use danube_bench::client::Client;
use danube_bench::server::Server;
use danube_bench::worker::Worker;

use crate::bare::Bare;
use crate::feed::Feed;
use crate::options::Options;
use crate::submit;

/// After so many hundredths of the playbooks memory is looked at.
const LOOKS_PERCENT: [usize; 6] = [5, 10, 25, 50, 75, 100];

/// The first look that later ones are compared with: by then everybody has done what is
/// done once.
const STEADY_PERCENT: usize = 10;

/// Bare runs of the floor.
const BARE_RUNS: usize = 60;

/// Jobs of one page of the list.
const PAGE: usize = 1_000;

pub(crate) fn print(options: &Options) {
    let feed = if options.redis {
        Feed::redis()
    } else {
        Feed::embedded()
    };
    let at_once = options.workers * options.each;
    let bare = Bare::new();
    let before = bare.a_second(BARE_RUNS.min(options.jobs), at_once);

    let mut arguments = vec!["--jobs-at-once", "0"];
    arguments.extend(feed.master.iter().map(String::as_str));
    let server = Server::start(&options.danube, &arguments, &[]);
    let mut client = Client::new(&server);
    let body = submit();
    let jobs: Vec<String> = (0..options.jobs)
        .map(|_| client.submit_body(&body))
        .collect();

    println!(
        "{} empty playbooks that wait, {} workers with {} at once, by {}",
        options.jobs, options.workers, options.each, feed.name
    );
    println!(
        "  {:>9} {:>9} {:>22} {:>34}",
        "ended", "seconds", "master MiB (most)", "workers MiB, each (most of any)"
    );
    let began = Instant::now();
    let workers = start_workers(options, &server, &feed);
    let mut steady = None;
    let mut last = Memory::default();
    for percent in LOOKS_PERCENT {
        let count = (jobs.len() * percent / 100).max(1);
        // They are taken in the order of their submit: when this one ends, about as many
        // have.
        client.follow(&jobs[count - 1], || {});
        if percent == 100 {
            danube_bench::jobs::drained(&server);
        }
        last = Memory::of(&server, &workers);
        last.print(count, began.elapsed().as_secs_f64());
        if percent == STEADY_PERCENT {
            steady = Some(last.clone());
        }
    }
    let took = began.elapsed().as_secs_f64();
    all_once(&mut client, jobs.len());
    drop(workers);
    server.stop();
    let after = bare.a_second(BARE_RUNS.min(options.jobs), at_once);

    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let rate = jobs.len() as f64 / took;
    let floor = f64::midpoint(before, after);
    println!("  all of them succeeded, each in its first attempt");
    println!(
        "  {rate:.2} a second beside {floor:.2} of bare ansible-playbook, {at_once} at once: {:.2}",
        rate / floor
    );
    if let Some(steady) = steady {
        println!(
            "  memory at the end by that after {STEADY_PERCENT} %: master {:.2}, workers {:.2}",
            last.master / steady.master,
            last.all_workers() / steady.all_workers()
        );
    }
    println!();
}

fn start_workers(options: &Options, server: &Server, feed: &Feed) -> Vec<Worker> {
    let each = options.each.to_string();
    let arguments = ["--jobs".to_owned(), each];
    (1..=options.workers)
        .map(|it| {
            let name = format!("bench-{it}");
            Worker::start(&options.danube, server, &name, (&arguments, &feed.worker))
        })
        .collect()
}

/// Every job succeeded, and none was tried twice.
fn all_once(client: &mut Client, expected: usize) {
    let mut cursor = String::new();
    let mut seen = 0;
    loop {
        let page = client.json(&format!("/api/v1/jobs?limit={PAGE}{cursor}"));
        for job in page["jobs"].as_array().expect("jobs") {
            let is_well = job["status"] == "success" && job["attempt"] == 1;
            assert!(is_well, "{job:#}");
            seen += 1;
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, expected, "jobs");
}

/// Resident memory in MiB, and the most there ever was.
#[derive(Clone, Default)]
struct Memory {
    master: f64,
    master_most: f64,
    workers: Vec<f64>,
    workers_most: f64,
}

impl Memory {
    fn of(server: &Server, workers: &[Worker]) -> Self {
        let most = workers.iter().map(|it| mib(it.pid(), "VmHWM:"));
        Self {
            master: mib(server.pid(), "VmRSS:"),
            master_most: mib(server.pid(), "VmHWM:"),
            workers: workers.iter().map(|it| mib(it.pid(), "VmRSS:")).collect(),
            workers_most: most.fold(0.0, f64::max),
        }
    }

    fn all_workers(&self) -> f64 {
        self.workers.iter().sum()
    }

    fn print(&self, count: usize, seconds: f64) {
        let workers: Vec<String> = self.workers.iter().map(|it| format!("{it:.1}")).collect();
        println!(
            "  {count:>9} {seconds:>9.0} {:>22} {:>34}",
            format!("{:.1} ({:.1})", self.master, self.master_most),
            format!("{} ({:.1})", workers.join(" "), self.workers_most)
        );
    }
}

fn mib(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix(name));
    let kib: Option<f64> = line.and_then(|it| it.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(f64::NAN) / 1_024.0
}
