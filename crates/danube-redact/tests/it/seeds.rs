//! Runs a test body over very many inputs: made from seeds, or kept.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// Inputs taken by a thread at once.
const BATCH: u64 = 256;

/// Says how to see a failure again, when the test panics with it.
struct Told {
    seed: u64,
    bytes: Vec<u8>,
}

impl Drop for Told {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "DANUBE_FUZZ_SEED={} DANUBE_FUZZ_CASES=1 shows it again; the input was {:?}",
                self.seed, self.bytes
            );
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number")),
    )
}

/// Calls `body` with `cases` inputs of up to `len_max` bytes, on all cores.
/// `DANUBE_FUZZ_CASES` asks for another number, `DANUBE_FUZZ_SEED` for the inputs
/// of an earlier run.
pub(crate) fn each(cases: u64, len_max: usize, body: fn(&[u8])) {
    let cases = setting("DANUBE_FUZZ_CASES").unwrap_or(cases);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |it| u64::from(it.subsec_nanos()) << 24);
    let first = setting("DANUBE_FUZZ_SEED").unwrap_or(now);
    let taken = AtomicU64::new(0);
    let work = || {
        loop {
            let from = taken.fetch_add(BATCH, Ordering::Relaxed);
            if from >= cases {
                return;
            }
            for case in from..cases.min(from + BATCH) {
                let seed = first.wrapping_add(case);
                let told = Told {
                    seed,
                    bytes: bytes(seed, len_max),
                };
                body(&told.bytes);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    println!("{cases} cases from seed {first} on");
}

/// Calls `body` with every input that is kept for a fuzz target.
pub(crate) fn each_kept(target: &str, body: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut seen = 0;
    for entry in fs::read_dir(&dir).expect("the corpus is there") {
        let path = entry.expect("the corpus can be read").path();
        body(&fs::read(&path).expect("the corpus can be read"));
        seen += 1;
    }
    assert!(seen > 0, "{} is empty", dir.display());
}

/// Random bytes, and how many.
fn bytes(seed: u64, len_max: usize) -> Vec<u8> {
    // Neighbouring seeds walk the same path one step apart: begin elsewhere.
    let mut state = mixed(seed);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(state)
    };
    let len = usize::try_from(next() % (len_max as u64 + 1)).unwrap_or(len_max);
    let words = std::iter::repeat_with(next).take(len.div_ceil(8));
    let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    bytes.truncate(len);
    bytes
}

/// The last steps of `SplitMix64`.
fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
