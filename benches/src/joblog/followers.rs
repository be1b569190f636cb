//! Followers: how soon they see what was flushed, and what each costs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use danube_bench::client::Client;
use danube_bench::figures::digits;
use danube_bench::server::Server;
use danube_joblog::{Chunk, JobLogs, Stream};
use danube_redact::{Rules, Simd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::contender::{READ_BYTES, secrets};
use crate::corpus::{Corpus, float};
use crate::field::verdict;
use crate::{proc, whole};

/// What a job puts out a second.
const INPUT_BYTES_A_SECOND: f64 = 50e6;

/// Goals.
const P50_MILLIS_MAX: f64 = 5.0;
const P99_MILLIS_MAX: f64 = 25.0;
const A_GIB_MIN: f64 = 25_000.0;

/// How long one number of followers is watched, and how much of that at the
/// beginning does not count.
const WATCHED: Duration = Duration::from_secs(6);
const WARM_UP: Duration = Duration::from_secs(1);

/// How long followers may go on reading at the end.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// As the server's followers read.
const PIECE_BYTES: usize = 16 * 1024;

const JOB: &str = "bench";

/// What followers share with who watches them.
struct Watch {
    logs: JobLogs,
    began: Instant,
    /// How far each follower is.
    at: Vec<AtomicU64>,
    /// Those that can't keep up need not read the rest.
    stop: AtomicBool,
}

/// Prints how long it takes from a flush until a follower has the bytes.
pub(crate) fn latency(corpus: &Corpus, dir: &Path) {
    println!(
        "\nfollowers of one log that grows by 50 MB/s (20 values, sparse), on all cores; from a batch's own time to its bytes in a follower's hands, no HTTP"
    );
    for followers in [1, 10, 100] {
        let fresh = tempfile::tempdir_in(dir).expect("make a directory");
        let run = watched(corpus, followers, fresh.path());
        let of = |percent: usize| run.millis[(run.millis.len() - 1) * percent / 100];
        let (p50, p99) = (of(50), of(99));
        println!(
            "  {followers:>4} followers: p50 {} ms, p99 {} ms; {:.0} MB/s in, {:.0} MB/s out in all, the last one {} KiB behind at the end; {}, {}",
            digits(p50),
            digits(p99),
            run.input / 1e6,
            run.output / 1e6,
            run.behind >> 10,
            at_most(P50_MILLIS_MAX, "p50", p50),
            at_most(P99_MILLIS_MAX, "p99", p99),
        );
    }
}

fn at_most(most: f64, of: &str, reached: f64) -> String {
    let verdict = if reached <= most { "met" } else { "MISSED" };
    format!("{of} <= {most} ms: {verdict}")
}

struct Watched {
    /// Sorted.
    millis: Vec<f64>,
    /// Bytes a second.
    input: f64,
    output: f64,
    behind: u64,
}

fn watched(corpus: &Corpus, followers: usize, dir: &Path) -> Watched {
    let logs = whole::open(dir);
    let mut writer = logs
        .writer(JOB, &secrets(20, Rules::builtin(), Simd::best()))
        .expect("open the log");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()
        .expect("start the runtime");
    let began = Instant::now();
    let watch = Arc::new(Watch {
        logs,
        began,
        at: (0..followers).map(|_| AtomicU64::new(0)).collect(),
        stop: AtomicBool::new(false),
    });
    let tasks: Vec<_> = (0..followers)
        .map(|number| runtime.spawn(follow(Arc::clone(&watch), number)))
        .collect();

    let mut input = 0;
    let mut blocks = corpus.bytes.chunks(READ_BYTES).cycle();
    while began.elapsed() < WATCHED {
        let block = blocks.next().expect("it begins again");
        let due = began + Duration::from_secs_f64(float(input) / INPUT_BYTES_A_SECOND);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        writer.write(Stream::Stdout, block).expect("write");
        input += block.len();
    }
    let took = began.elapsed().as_secs_f64();
    let at = watch.at.iter().map(|it| it.load(Ordering::Relaxed));
    let (sum, least) = at.fold((0, u64::MAX), |(sum, least), at| (sum + at, least.min(at)));
    let end = writer.close().expect("close the log").bytes;

    let mut millis = Vec::new();
    let deadline = Instant::now() + DRAIN_MAX;
    while tasks.iter().any(|it| !it.is_finished()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    watch.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        millis.extend(runtime.block_on(task).expect("followers do not panic"));
    }
    millis.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let output = sum as f64 / took;
    Watched {
        millis,
        input: float(input) / took,
        output,
        behind: end.saturating_sub(least),
    }
}

/// Reads as the server does for each of its followers. The age of each piece
/// when it came, in milliseconds.
async fn follow(watch: Arc<Watch>, number: usize) -> Vec<f64> {
    let mut reader = Some(watch.logs.reader(JOB).expect("open the log"));
    let (mut at, mut millis) = (0, Vec::new());
    loop {
        let mut progress = watch.logs.progress(JOB);
        if let Some(progress) = &mut progress {
            progress.mark_unchanged();
        }
        let mut own = reader.take().expect("it is put back");
        let read = tokio::task::spawn_blocking(move || {
            let chunk = own.read(at, PIECE_BYTES);
            (own, chunk)
        });
        let (own, chunk) = read.await.expect("reading does not panic");
        reader = Some(own);
        match chunk.expect("read the log") {
            Chunk::Data {
                offset,
                bytes,
                time_us,
                ..
            } => {
                at = offset + bytes.len() as u64;
                watch.at[number].store(at, Ordering::Relaxed);
                if let (Some(time), true) = (time_us, watch.began.elapsed() > WARM_UP) {
                    millis.push(age_millis(u128::from(time)));
                }
                if watch.stop.load(Ordering::Relaxed) {
                    return millis;
                }
            }
            Chunk::Gap { .. } => panic!("the log has a gap"),
            Chunk::End { .. } => match &mut progress {
                Some(progress) if !progress.borrow().closed => drop(progress.changed().await),
                _ => return millis,
            },
        }
    }
}

/// How long ago a moment of the wall clock is.
fn age_millis(time_us: u128) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_micros();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
    let micros = now.saturating_sub(time_us) as f64;
    micros / 1_000.0
}

/// Real followers of a real server, over HTTP.
const FOLLOWERS: usize = 5_000;

/// Descriptors that the server wants for each, and for everything else.
const FILES_A_FOLLOWER: u64 = 4;
const OTHER_FILES: u64 = 1_024;

/// How long a follower may wait for what is there already.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What the job prints before it sleeps: more than one piece.
const SCRIPT: &str = "seq 5000; sleep 900";
const SCRIPT_BYTES: usize = 23_893;

/// Prints what each of many followers costs a real server.
pub(crate) fn memory(program: &Path) {
    let count = FOLLOWERS.min(followers_max());
    let server = Server::start(program, &["--grace", "1"], &[]);
    let mut client = Client::new(&server);
    let id = client.submit(SCRIPT);
    // One follower first, so that what is made once is there.
    let mut open = vec![connect(&server, &id)];
    let pid = server.pid().to_string();
    let before = proc::status_bytes(&pid, "VmRSS");
    open.extend((1..=count).map(|_| connect(&server, &id)));
    let after = proc::status_bytes(&pid, "VmRSS");
    #[expect(clippy::cast_precision_loss, reason = "a size")]
    let each = after.saturating_sub(before) as f64 / float(count);
    let a_gib = float(1 << 30) / each;
    println!(
        "\nfollowers over HTTP: {count} of one job cost the server {:.1} KiB each (RSS {} MiB with one, {} MiB with all): {a_gib:.0} a GiB, {}",
        each / 1024.0,
        before >> 20,
        after >> 20,
        verdict(A_GIB_MIN, "1/GiB", Some(a_gib))
    );
    drop(open);
    if !server.stop() {
        println!("  the server ended badly");
    }
}

/// Prints the time and then so much that it comes to some 50 MB a second; sleeps
/// are never exact, so the real rate is printed with the figures.
const LOUD_SCRIPT: &str =
    "seq 100000 | base64 -w 99 > f; while :; do date +%s%N; cat f; sleep 0.005; done";

/// Digits of such a time.
const NANOS_DIGITS: usize = 19;

/// Prints how long it takes from a job's own `date` to a follower over HTTP.
pub(crate) fn over_http(program: &Path) {
    println!(
        "\nfollowers over HTTP of a job that prints its own time: the way through its pipe, the redactor and the wait for a full batch is in it"
    );
    for followers in [1, 10] {
        let server = Server::start(program, &["--grace", "1"], &[]);
        let id = Client::new(&server).submit(LOUD_SCRIPT);
        let began = Instant::now();
        let mut streams: Vec<_> = (0..followers).map(|_| ask(&server, &id)).collect();
        let heard: Vec<_> = std::thread::scope(|scope| {
            let listening: Vec<_> = streams
                .iter_mut()
                .map(|it| scope.spawn(move || listen(it, began)))
                .collect();
            let heard = listening.into_iter();
            heard
                .map(|it| it.join().expect("listening does not panic"))
                .collect()
        });
        let took = began.elapsed().as_secs_f64();
        let bytes: usize = heard.iter().map(|it| it.0).sum();
        let mut millis: Vec<f64> = heard.into_iter().flat_map(|it| it.1).collect();
        millis.sort_by(f64::total_cmp);
        let of = |percent: usize| {
            let at = millis.len().saturating_sub(1) * percent / 100;
            millis.get(at).copied().unwrap_or(f64::NAN)
        };
        println!(
            "  {followers:>4} followers: p50 {} ms, p99 {} ms of {} times; {:.0} MB/s each; {}, {}",
            digits(of(50)),
            digits(of(99)),
            millis.len(),
            float(bytes) / 1e6 / took / float(followers),
            at_most(P50_MILLIS_MAX, "p50", of(50)),
            at_most(P99_MILLIS_MAX, "p99", of(99)),
        );
        drop(streams);
        if !server.stop() {
            println!("  the server ended badly");
        }
    }
}

/// Reads for a while. The bytes, and the age of each time that came.
fn listen(stream: &mut TcpStream, began: Instant) -> (usize, Vec<f64>) {
    let (mut bytes, mut millis) = (0, Vec::new());
    let (mut line, mut piece) = (Vec::new(), vec![0; READ_BYTES]);
    while began.elapsed() < WATCHED {
        let len = stream.read(&mut piece).expect("read");
        assert!(len > 0, "the job ended early");
        bytes += len;
        for part in piece[..len].split_inclusive(|it| *it == b'\n') {
            line.extend_from_slice(part);
            let [digits @ .., b'\n'] = &line[..] else {
                continue;
            };
            if digits.len() == NANOS_DIGITS
                && digits.iter().all(u8::is_ascii_digit)
                && began.elapsed() > WARM_UP
            {
                let text = std::str::from_utf8(digits).expect("digits");
                let nanos: u128 = text.parse().expect("a number");
                millis.push(age_millis(nanos / 1_000));
            }
            line.clear();
        }
    }
    (bytes, millis)
}

/// As many as there can be descriptors for, here and in the server.
fn followers_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // The server is a child and gets the same.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = files.saturating_sub(OTHER_FILES) / FILES_A_FOLLOWER;
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// A follower's connection, with nothing read yet.
fn ask(server: &Server, id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&server.address).expect("connect");
    stream
        .set_read_timeout(Some(ANSWER_MAX))
        .expect("set an option");
    let request = format!(
        "GET /api/v1/jobs/{id}/logs?follow=1 HTTP/1.1\r\nhost: danube\r\nauthorization: Bearer {}\r\n\r\n",
        server.key
    );
    stream.write_all(request.as_bytes()).expect("send");
    stream
}

/// A follower that has read all that there is.
fn connect(server: &Server, id: &str) -> TcpStream {
    let mut stream = ask(server, id);
    let (mut all, mut piece) = (Vec::new(), [0; 32 * 1024]);
    while !all.ends_with(b"\n5000\n\r\n") {
        let len = stream.read(&mut piece).expect("read what is there");
        assert!(
            len > 0,
            "the server refused a follower: {}",
            String::from_utf8_lossy(&all)
        );
        all.extend_from_slice(&piece[..len]);
    }
    assert!(all.len() > SCRIPT_BYTES, "the answer is too short");
    stream
}
