//! Profiles of this process: what uses its processor ([`cpu`]), and who holds its memory
//! ([`heap`]); as pprof's protobuf, as a flame graph, or as folded stacks.
//!
//! A profile holds names of functions and threads and numbers, and nothing that the program works
//! on: no argument, no variable of the environment, no value.

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub mod cpu;
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
#[path = "no_cpu.rs"]
pub mod cpu;
mod flame;
mod fold;
pub mod heap;
mod pprof;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod ring;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod signal;
mod symbols;

use std::io;
use std::time::{Duration, SystemTime};

use symbols::Places;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Who used the processor: samples, and the nanoseconds that they stand for.
    Cpu,
    /// Who holds memory: objects that are in use, and their bytes.
    Heap,
}

/// How a profile is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// pprof's protobuf, compressed: for `go tool pprof`, speedscope and others.
    Pprof,
    /// A flame graph: one picture, without scripts.
    Svg,
    /// One line a stack, root first, and its count: for tools that draw.
    Folded,
}

impl Format {
    /// Reads its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "pprof" => Some(Self::Pprof),
            "svg" => Some(Self::Svg),
            "folded" => Some(Self::Folded),
            _ => None,
        }
    }

    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Pprof => "application/octet-stream",
            Self::Svg => "image/svg+xml",
            Self::Folded => "text/plain; charset=utf-8",
        }
    }
}

/// Equal stacks, counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The name of the thread, where it is known.
    pub(crate) thread: Option<String>,
    /// Addresses inside of the calls, the innermost first.
    pub(crate) frames: Vec<usize>,
    /// How many, and how much.
    pub(crate) values: [i64; 2],
}

/// What was seen, as addresses of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub(crate) kind: Kind,
    /// Between two samples: nanoseconds of processor time, or bytes.
    pub(crate) period: i64,
    pub(crate) began_at: SystemTime,
    pub(crate) took: Duration,
    /// Samples that were taken.
    pub(crate) taken: u64,
    /// Samples that found no room.
    pub(crate) lost: u64,
    pub(crate) samples: Vec<Sample>,
}

impl Profile {
    /// How many samples were taken for it.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.taken
    }

    /// How long it took.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Finds names for all of it and writes it. It reads the program's own file: milliseconds, and
    /// some megabytes that are given back.
    ///
    /// # Errors
    /// When compressing fails, which memory doesn't.
    pub fn write(mut self, format: Format) -> io::Result<Vec<u8>> {
        let addresses = self.samples.iter().flat_map(|it| it.frames.iter().copied());
        let mut addresses: Vec<usize> = addresses.collect();
        addresses.sort_unstable();
        addresses.dedup();
        let places = symbols::places(addresses.into_iter());
        if self.kind == Kind::Heap {
            heap::leave_allocator_out(&mut self, &places);
        }
        match format {
            Format::Pprof => pprof::write(&self, &places),
            Format::Svg => Ok(flame::draw(&self, &places).into_bytes()),
            Format::Folded => Ok(fold::lines(&self, &places).into_bytes()),
        }
    }
}

/// The function at an address. All were looked up before.
fn name_of(places: &Places, address: usize) -> &str {
    let place = places.at.get(&address);
    place.map_or("[unknown]", |it| it.function.as_str())
}
