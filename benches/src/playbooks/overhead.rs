//! One empty playbook after the other, with us and without, in turns: from the submit over
//! HTTP until a client that follows the job knows that it ended.

use std::collections::BTreeMap;
use std::time::Instant;

use danube_bench::client::Client;
use danube_bench::figures::{median, spread};
use danube_bench::server::Server;
use serde_json::Value;

use crate::bare::Bare;
use crate::options::Options;
use crate::quiet;
use crate::submit;

/// The goal: at most so much longer than without us.
const OVERHEAD_MAX: f64 = 0.05;

/// Pairs that don't count: the first run of each side reads its files from the disk.
const WARM_UPS: usize = 2;

/// What others may have of a pair's time, all cores together: more, and the pair is made
/// again.
const FOREIGN_MAX: f64 = 0.1;

/// How often at most.
const TRIES_MAX: usize = 10;

pub(crate) fn print(options: &Options) {
    let bare = Bare::new();
    let server = Server::start(&options.danube, &[], &[]);
    let mut clients = Clients {
        poster: Client::new(&server),
        follower: Client::new(&server),
        master: server.pid(),
    };
    for _ in 0..WARM_UPS {
        pair(&bare, &mut clients, true);
    }
    let mut pairs = Vec::new();
    let mut disturbed = 0;
    for at in 0..options.pairs {
        // Each is the first one in half of the pairs.
        let mut make = || pair(&bare, &mut clients, at % 2 == 0);
        let mut made = make();
        for _ in 1..TRIES_MAX {
            if made.foreign <= FOREIGN_MAX {
                break;
            }
            made = make();
        }
        disturbed += usize::from(made.foreign > FOREIGN_MAX);
        pairs.push(made);
    }
    show(&pairs, disturbed);
    server.stop();
}

fn show(pairs: &[Pair], disturbed: usize) {
    let all = |of: fn(&Pair) -> f64| -> Vec<f64> { pairs.iter().map(of).collect() };
    println!(
        "an empty playbook, {} pairs: median (least-most)",
        pairs.len()
    );
    println!(
        "  bare ansible-playbook         {} ms",
        spread(&all(|it| it.bare))
    );
    println!(
        "    its processor time          {} ms",
        spread(&all(|it| it.bare_cpu))
    );
    println!(
        "  submit -> done, over HTTP     {} ms",
        spread(&all(|it| it.ours))
    );
    println!(
        "  overhead, median of the pairs {:.1} % (goal: at most {:.0} %)",
        median(&all(|it| it.ours / it.bare - 1.0)) * 100.0,
        OVERHEAD_MAX * 100.0
    );
    println!("  of ours:");
    let mut parts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, millis) in pairs.iter().flat_map(|it| &it.parts) {
        parts.entry(name).or_default().push(*millis);
    }
    for (name, millis) in &parts {
        println!("    {name:<32} {} ms", spread(millis));
    }
    if disturbed > 0 {
        println!("  in {disturbed} of the pairs others had the machine: a quieter hour is needed");
    }
    println!();
}

/// One run of each, in milliseconds.
struct Pair {
    bare: f64,
    bare_cpu: f64,
    ours: f64,
    parts: Vec<(&'static str, f64)>,
    /// What others had, by the time of both.
    foreign: f64,
}

fn pair(bare: &Bare, clients: &mut Clients, bare_first: bool) -> Pair {
    let all = quiet::all_millis();
    let alone = || {
        let before = quiet::own_millis();
        let took = bare.run().as_secs_f64() * 1_000.0;
        (took, quiet::own_millis() - before)
    };
    let ((floor, floor_cpu), ours) = if bare_first {
        let floor = alone();
        (floor, clients.run())
    } else {
        let ours = clients.run();
        (alone(), ours)
    };
    let others = quiet::all_millis() - all - floor_cpu - ours.cpu;
    Pair {
        bare: floor,
        bare_cpu: floor_cpu,
        ours: ours.took,
        parts: clients.parts(&ours),
        foreign: others / (floor + ours.took),
    }
}

struct Clients {
    poster: Client,
    follower: Client,
    master: u32,
}

/// A job that ended, in milliseconds.
struct Ours {
    id: String,
    took: f64,
    /// The job's processor time, the master's and the bench's own.
    cpu: f64,
    /// Of it the playbook's.
    playbook_cpu: f64,
}

impl Clients {
    fn run(&mut self) -> Ours {
        let before = quiet::millis_of(self.master) + quiet::own_millis();
        let body = submit();
        let began = Instant::now();
        let id = self.poster.submit_body(&body);
        // The log ends when the job does.
        let log = self.follower.follow(&id, || {});
        let took = began.elapsed().as_secs_f64() * 1_000.0;
        let own = quiet::millis_of(self.master) + quiet::own_millis() - before;
        assert!(log.windows(10).any(|it| it == b"PLAY RECAP"));
        let job = self.poster.json(&format!("/api/v1/jobs/{id}"));
        assert_eq!(job["status"], "success", "{job:#}");
        let steps = job["steps"].as_array().into_iter().flatten();
        let playbook: f64 = steps.filter_map(|it| it["cpu_seconds"].as_f64()).sum();
        Ours {
            id,
            took,
            cpu: own + playbook * 1_000.0,
            playbook_cpu: playbook * 1_000.0,
        }
    }

    /// What of that time each part took; the names begin with their place.
    fn parts(&mut self, ours: &Ours) -> Vec<(&'static str, f64)> {
        let path = format!("/api/v1/jobs/{}/trace", ours.id);
        let trace = self.poster.json(&path);
        let spans = spans(&trace);
        let span = |name: &str| spans.iter().find(|it| it["name"] == name);
        let begun = |name: &str| span(name).map(|it| nanos(it, "startTimeUnixNano"));
        let ended = |name: &str| span(name).map(|it| nanos(it, "endTimeUnixNano"));
        let between = |from: Option<u64>, to: Option<u64>| {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
            let millis = |(from, to): (u64, u64)| to.saturating_sub(from) as f64 / 1e6;
            from.zip(to).map(millis)
        };
        let (request, execute, run) = ("POST /api/v1/jobs", "worker.execute", "run_playbook");
        let ended_at = between(begun(request), ended(execute));
        let parts = [
            (
                "0 request to a worker's lease",
                between(begun(request), begun(execute)),
            ),
            (
                "1 lease to run_playbook",
                between(begun(execute), begun(run)),
            ),
            ("2 run_playbook", between(begun(run), ended(run))),
            ("3   its processor time", Some(ours.playbook_cpu)),
            (
                "4 run_playbook to the end",
                between(ended(run), ended(execute)),
            ),
            (
                "5 after it, and the client's own",
                ended_at.map(|it| ours.took - it),
            ),
            (
                "6   the master's processor time",
                Some(ours.cpu - ours.playbook_cpu),
            ),
        ];
        let known = parts.into_iter();
        known.filter_map(|(name, it)| Some((name, it?))).collect()
    }
}

fn spans(trace: &Value) -> Vec<&Value> {
    let resources = trace["resourceSpans"].as_array().into_iter().flatten();
    let scopes = resources.flat_map(|it| it["scopeSpans"].as_array().into_iter().flatten());
    scopes
        .flat_map(|it| it["spans"].as_array().into_iter().flatten())
        .collect()
}

/// A time, which JSON has as text.
fn nanos(span: &Value, name: &str) -> u64 {
    let text = span[name].as_str().unwrap_or_default();
    text.parse().unwrap_or_default()
}
