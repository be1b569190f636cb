//! Reads what jemalloc writes of the memory that is in use.
//!
//! The allocator belongs to the program, so it hands in what is done with it ([`Allocator`]).

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::symbols::Places;
use super::{Kind, Profile, Sample, name_of};

/// Bytes of a dump that is read: some 50,000 stacks.
const DUMP_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What is done with the allocator.
#[derive(Debug, Clone, Copy)]
pub struct Allocator {
    /// Begins or ends to sample what is allocated.
    pub activate: fn(bool) -> io::Result<()>,
    /// Forgets what was sampled so far.
    pub forget: fn() -> io::Result<()>,
    /// Writes what was sampled and is still in use into a file.
    pub dump: fn(&Path) -> io::Result<()>,
}

static ALLOCATOR: OnceLock<Allocator> = OnceLock::new();

/// One at a time in a process: there is one switch.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Makes the program's allocator known. The first one stays: a process has one.
pub fn install(allocator: Allocator) {
    let _ = ALLOCATOR.set(allocator);
}

/// Whether the allocator can say who holds memory.
#[must_use]
pub fn is_known() -> bool {
    ALLOCATOR.get().is_some()
}

/// Samples what is allocated until it is finished or dropped.
pub struct Sampling {
    allocator: Allocator,
    began: Instant,
    began_at: SystemTime,
}

/// Begins to sample. What was allocated before isn't seen.
///
/// # Errors
/// `Unsupported` where the allocator isn't known, `ResourceBusy` while another samples, or what the
/// allocator says.
pub fn start() -> io::Result<Sampling> {
    let allocator = *ALLOCATOR.get().ok_or(io::ErrorKind::Unsupported)?;
    if IS_TAKEN.swap(true, Ordering::SeqCst) {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    let sampling = Sampling {
        allocator,
        began: Instant::now(),
        began_at: SystemTime::now(),
    };
    (allocator.forget)()?;
    (allocator.activate)(true)?;
    Ok(sampling)
}

impl Sampling {
    /// What is in use now of what was allocated since the beginning; sampling goes on.
    ///
    /// # Errors
    /// When the allocator can't write it, or writes what can't be read.
    pub fn now(&self) -> io::Result<Profile> {
        read(&dump(self.allocator)?, self.began_at, self.began.elapsed())
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        // Refused, it only costs what sampling costs.
        let _ = (self.allocator.activate)(false);
        IS_TAKEN.store(false, Ordering::SeqCst);
    }
}

/// The allocator's own words. They go into a file without a name, in memory: the disk may be full.
fn dump(allocator: Allocator) -> io::Result<String> {
    let file = rustix::fs::memfd_create("heap", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(file);
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    (allocator.dump)(Path::new(&path))?;
    let mut text = String::new();
    file.rewind()?;
    file.take(DUMP_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads a dump, `heap_v2`: for each stack how much is in use of what was sampled. From that follows
/// how much there is of what wasn't.
///
/// # Errors
/// When it is no such dump.
fn read(dump: &str, began_at: SystemTime, took: Duration) -> io::Result<Profile> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut lines = dump.lines();
    let first = lines.next().unwrap_or_default();
    let period = first
        .strip_prefix("heap_v2/")
        .and_then(|it| it.parse::<i64>().ok());
    let period = period.ok_or_else(|| wrong("the allocator's dump begins otherwise"))?;
    let (mut samples, mut taken) = (Vec::new(), 0);
    let mut frames: Option<Vec<usize>> = None;
    for line in lines {
        if line.starts_with("MAPPED_LIBRARIES") {
            break;
        }
        if let Some(stack) = line.strip_prefix("@ ") {
            frames = Some(stack.split_whitespace().filter_map(inside_call).collect());
        } else if let Some(counts) = line.trim_start().strip_prefix("t*: ")
            // The first such line has no stack above it: it is the sum of all.
            && let Some(frames) = frames.take()
        {
            let values = in_use(counts)
                .ok_or_else(|| wrong("the allocator's dump has a line of another form"))?;
            taken += values.0.max(0).cast_unsigned();
            samples.push(Sample {
                thread: None,
                frames,
                values: whole(values, period),
            });
        }
    }
    Ok(Profile {
        kind: Kind::Heap,
        period,
        began_at,
        took,
        taken,
        lost: 0,
        samples,
    })
}

/// An address inside of the call that returns to this one.
fn inside_call(text: &str) -> Option<usize> {
    let returns_to = usize::from_str_radix(text.strip_prefix("0x")?, 16).ok()?;
    returns_to.checked_sub(1)
}

/// Objects and bytes that are in use: `3: 1572864 [0: 0]`.
fn in_use(counts: &str) -> Option<(i64, i64)> {
    let (objects, rest) = counts.split_once(": ")?;
    let bytes = rest.split(' ').next()?;
    Some((objects.parse().ok()?, bytes.parse().ok()?))
}

/// What was sampled stands for more: an object of `size` bytes is sampled with the probability
/// 1 − e^(−size/period). It is what `jeprof` computes, and jemalloc prepares its numbers for that.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "an estimate"
)]
fn whole((objects, bytes): (i64, i64), period: i64) -> [i64; 2] {
    if objects <= 0 || bytes <= 0 || period <= 1 {
        return [objects.max(0), bytes.max(0)];
    }
    let size = bytes as f64 / objects as f64;
    let scale = 1.0 / (1.0 - (-size / period as f64).exp());
    [objects, bytes].map(|it| (it as f64 * scale).round() as i64)
}

/// Each stack ends in the allocator; it is left out, so that whoever asked for memory comes first.
pub(super) fn leave_allocator_out(profile: &mut Profile, places: &Places) {
    for sample in &mut profile.samples {
        let frames = sample.frames.iter();
        let inner = frames
            .take_while(|it| is_allocator(name_of(places, **it)))
            .count();
        if inner < sample.frames.len() {
            sample.frames.drain(..inner);
        }
    }
}

fn is_allocator(name: &str) -> bool {
    let known = [
        "_rjem_",
        "prof_",
        "imalloc",
        "irallocx",
        "do_rallocx",
        "ialloc",
        "je_",
        "__rust_",
        "__rustc::__rust",
        "<tikv_jemallocator",
        "tikv_jemallocator::",
    ];
    known.iter().any(|it| name.starts_with(it))
        || name.contains("__rust_alloc")
        || name.contains("__rust_realloc")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "\
heap_v2/524288
  t*: 5: 2097664 [0: 0]
  t0: 5: 2097664 [0: 0]
@ 0x1001 0x2001 0x3001
  t*: 4: 2097152 [0: 0]
  t3: 4: 2097152 [0: 0]
@ 0x1001 0x4001
  t*: 1: 512 [0: 0]
  t7: 1: 512 [0: 0]

MAPPED_LIBRARIES:
00400000-00500000 r-xp 00000000 00:00 0 /usr/bin/danube
";

    fn read_dump(dump: &str) -> io::Result<Profile> {
        read(dump, SystemTime::UNIX_EPOCH, Duration::from_secs(1))
    }

    #[test]
    fn stacks_are_read_with_what_they_stand_for() {
        let profile = read_dump(DUMP).unwrap();
        assert_eq!((profile.period, profile.samples()), (524_288, 5));
        let stacks: Vec<&[usize]> = profile.samples.iter().map(|it| &it.frames[..]).collect();
        assert_eq!(stacks, [&[0x1000, 0x2000, 0x3000][..], &[0x1000, 0x4000]]);
        // Objects as large as the period: 1 / (1 − 1/e) of what was seen.
        assert_eq!(profile.samples[0].values, [6, 3_317_646]);
        // A thousand small ones for each that was seen.
        assert_eq!(profile.samples[1].values, [1_025, 524_544]);
    }

    #[test]
    fn what_is_no_dump_is_refused() {
        for dump in [
            "",
            "heap_v2/x",
            "MAPPED_LIBRARIES:",
            "heap_v2/1\n@ 0x1\n t*: many",
        ] {
            assert!(read_dump(dump).is_err(), "{dump}");
        }
        assert_eq!(read_dump("heap_v2/524288\n").unwrap().samples, []);
    }
}
