//! Receivers of webhooks that are away, slow, or answer nonsense, while others are well.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::row::row;
use super::setting;
use crate::master::{DEADLINE, Master, id, one_step};
use crate::processes::{memory, until};
use crate::receiver::{Receiver, Reply};
use crate::webhooks::ALLOWED;

/// Jobs for each receiver, and as many in the quick form.
const JOBS: usize = 200;
const JOBS_QUICK: usize = 12;

/// What a server may need more while it tells bad receivers: an answer is read up to some
/// KiB, and there are 32 at once.
const MEMORY_BYTES_MAX: u64 = 48 * 1024 * 1024;

/// How long a slow one takes for a byte.
const SLOW_BYTE_EVERY: Duration = Duration::from_millis(300);

/// What a receiver does with whoever comes.
#[derive(Debug, Clone, Copy)]
enum Nature {
    /// Closes the connection.
    Away,
    /// Sends its answer byte by byte, for ever.
    Slow,
    /// Something that is no HTTP.
    Nonsense,
    /// A head that never ends.
    Endless,
    /// All is well, and a body that never ends.
    Talks,
    /// Takes nothing and says nothing.
    Silent,
}

const NATURES: [Nature; 6] = [
    Nature::Away,
    Nature::Slow,
    Nature::Nonsense,
    Nature::Endless,
    Nature::Talks,
    Nature::Silent,
];

/// A receiver of that nature until it is cured; then it takes everything.
struct Bad {
    address: String,
    is_cured: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

impl Bad {
    fn new(nature: Nature) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let bad = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            is_cured: Arc::default(),
            taken: Arc::default(),
            asked: Arc::default(),
        };
        let (is_cured, taken) = (Arc::clone(&bad.is_cured), Arc::clone(&bad.taken));
        let asked = Arc::clone(&bad.asked);
        let held = Mutex::new(Vec::new());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                asked.fetch_add(1, Ordering::Relaxed);
                if is_cured.load(Ordering::Relaxed) {
                    take(stream);
                    taken.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                match nature {
                    Nature::Away => drop(stream),
                    Nature::Silent => held.lock().unwrap().push(stream),
                    _ => drop(thread::spawn(move || talk(stream, nature))),
                }
            }
        });
        bad
    }
}

/// Reads a whole request and says that all is well.
fn take(mut stream: TcpStream) {
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    while !seen.ends_with(b"}") {
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => seen.extend_from_slice(&piece[..count]),
            _ => break,
        }
    }
    let _ = stream.write_all(b"HTTP/1.1 204 X\r\nconnection: close\r\n\r\n");
}

/// Says what this nature says, until nobody listens.
fn talk(mut stream: TcpStream, nature: Nature) {
    let (first, then): (&[u8], &[u8]) = match nature {
        Nature::Slow => (b"HTTP/1.1 ", b"2"),
        Nature::Nonsense => (b"\0\xff\x16\x03\x01 no such thing\r\n\r\n", b"\r\n"),
        Nature::Endless => (
            b"HTTP/1.1 200 X\r\n",
            b"x-more: and-more-and-more-and-more\r\n",
        ),
        _ => (
            b"HTTP/1.1 500 X\r\ncontent-length: 999999999999\r\n\r\n",
            &[b'x'; 4096],
        ),
    };
    let mut written = stream.write_all(first);
    while written.is_ok() {
        if matches!(nature, Nature::Slow) {
            // tidy: allow(sleep): the slowness is the fault itself
            thread::sleep(SLOW_BYTE_EVERY);
        }
        written = stream.write_all(then);
    }
}

fn deliveries(master: &Master, success: bool) -> f64 {
    master.metric(&format!(
        "danube_webhook_deliveries_total{{success=\"{success}\"}}"
    ))
}

/// Submits a job that is told there.
fn told_at(master: &Master, address: &str) -> String {
    let mut order = one_step("true");
    order["callback_url"] = json!(address);
    id(&master.submit(&order))
}

#[test]
fn receivers_that_are_away_slow_or_mad_cost_bounded_memory_and_hold_up_nobody() {
    let row = row!("a collector or receiver gone bad");
    let jobs = setting("DANUBE_FAULT_ROUNDS").map_or(JOBS_QUICK, |_| JOBS);
    let master = Master::with(ALLOWED);
    master.ended(&master.run("echo warm"));
    let before = memory(master.pid(), "VmRSS");
    let bad: Vec<Bad> = NATURES.into_iter().map(Bad::new).collect();
    let good = Receiver::new(&[Reply::Status(204, "")]);
    for _ in 0..jobs {
        for it in &bad {
            told_at(&master, &it.address);
        }
    }
    for it in &bad {
        until("each was asked", DEADLINE, || {
            (it.asked.load(Ordering::Relaxed) > 0).then_some(())
        });
    }
    // While all of these wait, a job is told as if there were none.
    for _ in 0..jobs {
        told_at(&master, &good.address);
    }
    for _ in 0..jobs {
        good.next();
    }
    until("what went wrong is counted", DEADLINE, || {
        (deliveries(&master, false) > 0.0).then_some(())
    });
    let grown = memory(master.pid(), "VmRSS").saturating_sub(before);
    assert!(grown < MEMORY_BYTES_MAX, "{grown} bytes of memory");
    assert_eq!(master.get("/health/ready").status, 200);
    master.event(|it| it["event"] == "webhook_failed");

    for it in &bad {
        it.is_cured.store(true, Ordering::Relaxed);
    }
    // Pauses grow; somebody who knows that it is cured doesn't wait for them.
    let told = jobs * (bad.len() + 1);
    resend(&master);
    for it in &bad {
        until("all of it came", 3 * DEADLINE, || {
            (it.taken.load(Ordering::Relaxed) >= jobs).then_some(())
        });
    }
    let kib = grown / 1024;
    row.held(
        1,
        format!("{told} webhooks to 6 bad receivers and a good one, {kib} KiB of memory more"),
    );
}

/// Asks for all that waits to be sent now.
fn resend(master: &Master) {
    let mut cursor = String::new();
    loop {
        let list = "/api/v1/webhooks/deliveries?status=pending&limit=100";
        let page = master.get(&format!("{list}{cursor}")).json();
        for it in page["deliveries"].as_array().expect("a list") {
            let job = it["job_id"].as_str().expect("an id");
            let path = format!("/api/v1/webhooks/deliveries/{job}/replay");
            assert_eq!(master.call("POST", &path, None).status, 200);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return,
        }
    }
}
