//! The whole path: read, redact, append, index, with a sync every second,
//! beside the bare `write(2)` of the same bytes with the same syncs.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use danube_bench::figures::{digits, median, spread};
use danube_joblog::{Chunk, JobLogs, Limits, LogWriter, Stream};
use danube_redact::{Rules, Secrets, Simd};
use memchr::memmem;

use crate::contender::{Claim, READ_BYTES, secrets};
use crate::corpus::{self, Corpus, Kind, float};
use crate::field::verdict;
use crate::proc;

/// The goal: so much of the speed of bare writes.
const OF_BARE: f64 = 0.35;

/// As the job log does it.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What a running writer may grow by after it has warmed up.
const GROWTH_BYTES_MAX: u64 = 1 << 20;

/// The job of all logs here.
const JOB: &str = "bench";

/// How long a pass took.
struct Pass {
    /// Until the last byte was written.
    appended: Duration,
    /// Until all of it was on the disk.
    durable: Duration,
    syncs: u64,
}

/// Rounds of one contender, in GiB a second.
#[derive(Default)]
struct Times {
    appended: Vec<f64>,
    durable: Vec<f64>,
    syncs: u64,
}

/// What is registered.
struct Known {
    secrets: Secrets,
    claim: Claim,
}

impl Known {
    fn new(values: usize) -> Self {
        Self {
            secrets: secrets(values, Rules::builtin(), Simd::best()),
            claim: if values == 0 {
                Claim::Patterns
            } else {
                Claim::Forms
            },
        }
    }
}

/// Prints the table. `total` bytes are written in each pass, below `dir`.
pub(crate) fn run(corpus: &Corpus, total: usize, rounds: usize, dir: &Path) {
    println!(
        "\nwhole path: {} MiB a pass in reads of 64 KiB (the sparse log, again and again), a sync every second, below {}",
        total >> 20,
        dir.display()
    );
    let contenders = [None, Some(0), Some(20), Some(500)];
    let known: Vec<Option<Known>> = contenders.iter().map(|it| it.map(Known::new)).collect();
    let mut times: Vec<Times> = contenders.iter().map(|_| Times::default()).collect();
    for round in 0..=rounds {
        for (known, times) in known.iter().zip(&mut times) {
            let fresh = tempfile::tempdir_in(dir).expect("make a directory");
            let pass = match known {
                None => bare(corpus, total, fresh.path()),
                Some(known) => logged(corpus, total, known, fresh.path()),
            };
            if round > 0 {
                let speed = |it: Duration| float(total) / float(1 << 30) / it.as_secs_f64();
                times.appended.push(speed(pass.appended));
                times.durable.push(speed(pass.durable));
                times.syncs += pass.syncs;
            }
        }
    }
    println!(
        "  {:<40} {:>22} {:>7} {:>22} {:>7} {:>6}  goal",
        "contender", "appended GiB/s", "x bare", "on the disk GiB/s", "x bare", "syncs"
    );
    let floor = [median(&times[0].appended), median(&times[0].durable)];
    for (values, own) in contenders.iter().zip(&times) {
        let ratios = [
            median(&own.appended) / floor[0],
            median(&own.durable) / floor[1],
        ];
        let name = values.map_or_else(
            || "bare write(2) of 64 KiB".to_owned(),
            |it| format!("redact, append, index: {it} values"),
        );
        let goal = values.map_or_else(String::new, |_| {
            verdict(OF_BARE, "bare (the lower)", Some(ratios[0].min(ratios[1])))
        });
        println!(
            "  {name:<40} {:>22} {:>7} {:>22} {:>7} {:>6}  {goal}",
            spread(&own.appended),
            digits(ratios[0]),
            spread(&own.durable),
            digits(ratios[1]),
            own.syncs
        );
    }
}

/// Blocks of at most 64 KiB, until there were `total` bytes.
fn blocks(bytes: &[u8], total: usize) -> impl Iterator<Item = &[u8]> {
    let mut left = total;
    let again = std::iter::repeat_with(|| bytes.chunks(READ_BYTES)).flatten();
    again.map_while(move |block| {
        let block = &block[..block.len().min(left)];
        left -= block.len();
        (!block.is_empty()).then_some(block)
    })
}

fn bare(corpus: &Corpus, total: usize, dir: &Path) -> Pass {
    let file = Arc::new(File::create(dir.join("bare")).expect("make a file"));
    let began = Instant::now();
    // Nothing is ever sent: its end is the message.
    let (stop, stopped) = sync_channel::<()>(0);
    let syncer = std::thread::spawn({
        let file = Arc::clone(&file);
        move || {
            let mut syncs = 0;
            while stopped.recv_timeout(SYNC_EVERY) == Err(RecvTimeoutError::Timeout) {
                file.sync_data().expect("sync");
                syncs += 1;
            }
            syncs
        }
    });
    for block in blocks(&corpus.bytes, total) {
        (&*file).write_all(block).expect("write");
    }
    let appended = began.elapsed();
    drop(stop);
    let syncs: u64 = syncer.join().expect("it does not panic");
    file.sync_data().expect("sync");
    Pass {
        appended,
        durable: began.elapsed(),
        syncs: syncs + 1,
    }
}

fn logged(corpus: &Corpus, total: usize, known: &Known, dir: &Path) -> Pass {
    let logs = open(dir);
    let mut writer = logs.writer(JOB, &known.secrets).expect("open the log");
    let began = Instant::now();
    feed(&mut writer, blocks(&corpus.bytes, total));
    let appended = began.elapsed();
    let summary = writer.close().expect("close the log");
    let durable = began.elapsed();
    assert!(summary.complete, "the log lost bytes");
    assert!(
        float(usize::try_from(summary.bytes).expect("64 bits")) > 0.9 * float(total),
        "the log is too short"
    );
    assert!(
        !secrets_left(&logs, corpus, known.claim),
        "the log holds a secret"
    );
    Pass {
        appended,
        durable,
        syncs: logs.syncs(),
    }
}

/// Room enough that nothing is cut.
pub(crate) fn open(dir: &Path) -> JobLogs {
    let limits = Limits::new(u64::MAX / 4, u64::MAX / 2).expect("there is room");
    JobLogs::open(&dir.join("logs"), limits).expect("open the logs")
}

/// Writes as a worker does: what was read into its buffer, and what waits when
/// its time has come.
fn feed<'a>(writer: &mut LogWriter, blocks: impl Iterator<Item = &'a [u8]>) {
    let mut read = vec![0; READ_BYTES];
    for block in blocks {
        let read = &mut read[..block.len()];
        read.copy_from_slice(block);
        writer.write(Stream::Stdout, read).expect("write");
        if writer.tick_due().is_some_and(|it| it <= Instant::now()) {
            writer.tick().expect("write");
        }
    }
}

/// Whether the log's beginning holds anything that was planted there.
fn secrets_left(logs: &JobLogs, corpus: &Corpus, claim: Claim) -> bool {
    let mut reader = logs.reader(JOB).expect("open the log");
    let chunk = reader.read_raw(0, corpus.checked).expect("read the log");
    let Chunk::Data { bytes, .. } = chunk else {
        return true;
    };
    let planted = corpus.planted.iter().filter(|it| claim.holds(it.class));
    planted
        .map(|it| memmem::find(&bytes, &it.needle))
        .any(|it| it.is_some())
}

/// The option that makes this program the one whose memory is watched.
pub(crate) const MEMORY_BODY: &str = "--memory-body";

/// Prints how much a log's memory grows while `total` bytes go through it. In a
/// process of its own: memory that was freed here would hide growth.
pub(crate) fn memory(log_bytes: usize, total: usize, dir: &Path) {
    let own = std::env::current_exe().expect("it has a path");
    let done = Command::new(own)
        .args([MEMORY_BODY, &log_bytes.to_string(), &total.to_string()])
        .arg(dir)
        .status();
    assert!(done.expect("start it").success(), "it ended badly");
}

/// What runs in that process: the size of the log, all bytes, a directory.
pub(crate) fn memory_body(arguments: &[String]) {
    let [log_bytes, total, dir] = arguments else {
        panic!("give two sizes and a directory");
    };
    let corpus = corpus::make(Kind::Sparse, log_bytes.parse().expect("a size"));
    let total = total.parse().expect("a size");
    let fresh = tempfile::tempdir_in(dir).expect("make a directory");
    let logs = open(fresh.path());
    let secrets = secrets(500, Rules::builtin(), Simd::best());
    let before = proc::status_bytes("self", "VmRSS");
    let mut writer = logs.writer(JOB, &secrets).expect("open the log");
    // Its buffers have their size after this much.
    feed(&mut writer, blocks(&corpus.bytes, 64 << 20));
    let warmed = proc::status_bytes("self", "VmRSS");
    proc::forget_peak();
    feed(&mut writer, blocks(&corpus.bytes, total));
    let after = proc::status_bytes("self", "VmRSS");
    let peak = proc::status_bytes("self", "VmHWM");
    writer.close().expect("close the log");
    let growth = after.max(peak).saturating_sub(warmed);
    println!(
        "\nmemory: a log with 500 values takes {} KiB after 64 MiB, and at most {} KiB more while {} MiB more go through it; flat (<= 1 MiB more): {}",
        warmed.saturating_sub(before) >> 10,
        growth >> 10,
        total >> 20,
        if growth <= GROWTH_BYTES_MAX {
            "met"
        } else {
            "MISSED"
        }
    );
}
