//! What takes part: the redactor, the floors below it, and what it is to beat.

use std::hint::black_box;
use std::time::{Duration, Instant};

use danube_redact::{Redactor, Rules, Secrets, Simd};

use crate::corpus::Class;
use crate::values;

/// The size of a read from a job's pipe.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// One way to treat a log.
pub(crate) trait Contender {
    /// Treats all of `input` and says how long that took.
    fn pass(&mut self, input: &[u8]) -> Duration;

    /// What it makes of `input`; nothing when it changes nothing.
    fn output(&mut self, input: &[u8]) -> Option<Vec<u8>>;
}

/// How long this takes.
pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// Copies all to another place.
#[derive(Default)]
pub(crate) struct Memcpy {
    to: Vec<u8>,
}

impl Contender for Memcpy {
    fn pass(&mut self, input: &[u8]) -> Duration {
        if self.to.len() < input.len() {
            self.to.resize(input.len(), 1);
        }
        timed(|| black_box(&mut self.to[..input.len()]).copy_from_slice(black_box(input)))
    }

    fn output(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// Copies blocks to a place that stays in the cache.
pub(crate) struct HotMemcpy;

impl Contender for HotMemcpy {
    fn pass(&mut self, input: &[u8]) -> Duration {
        let mut to = vec![1; READ_BYTES];
        timed(|| {
            for block in input.chunks(READ_BYTES) {
                black_box(&mut to[..block.len()]).copy_from_slice(black_box(block));
            }
        })
    }

    fn output(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// Counts the lines.
pub(crate) struct Newlines;

impl Contender for Newlines {
    fn pass(&mut self, input: &[u8]) -> Duration {
        timed(|| {
            black_box(memchr::memchr_iter(b'\n', black_box(input)).count());
        })
    }

    fn output(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// The redactor, with input in chunks of a size.
pub(crate) struct Redaction {
    secrets: Secrets,
    chunk: usize,
    out: Vec<u8>,
}

impl Redaction {
    /// With the first so many values registered.
    pub(crate) fn new(values: usize, chunk: usize, rules: Rules) -> Self {
        Self::with(secrets(values, rules, Simd::best()), chunk)
    }

    /// With the built-in rules and an engine of one's choice.
    pub(crate) fn on(simd: Simd, values: usize) -> Self {
        Self::with(secrets(values, Rules::builtin(), simd), READ_BYTES)
    }

    fn with(secrets: Secrets, chunk: usize) -> Self {
        Self {
            secrets,
            chunk,
            out: Vec::with_capacity(4 * READ_BYTES),
        }
    }
}

/// The first so many values, registered.
pub(crate) fn secrets(values: usize, rules: Rules, simd: Simd) -> Secrets {
    let secrets = Secrets::with_simd(rules, simd);
    for value in values::values().iter().take(values) {
        secrets
            .register(value)
            .expect("the values are long and random");
    }
    secrets
}

impl Contender for Redaction {
    fn pass(&mut self, input: &[u8]) -> Duration {
        timed(|| {
            let mut redactor = Redactor::new(&self.secrets);
            for chunk in input.chunks(self.chunk) {
                redactor.push(chunk, &mut self.out);
                black_box(&self.out);
                self.out.clear();
            }
            redactor.finish(&mut self.out);
            black_box(&self.out);
            self.out.clear();
        })
    }

    fn output(&mut self, input: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut redactor = Redactor::new(&self.secrets);
        for chunk in input.chunks(self.chunk) {
            redactor.push(chunk, &mut out);
        }
        redactor.finish(&mut out);
        Some(out)
    }
}

/// What a contender claims to take out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nothing: a floor.
    Nothing,
    /// What the rules find.
    Patterns,
    /// That and registered values as they are.
    Values,
    /// That and all their forms.
    Forms,
}

impl Claim {
    pub(crate) fn holds(self, class: Class) -> bool {
        match class {
            Class::Pattern => self != Self::Nothing,
            Class::Raw => matches!(self, Self::Values | Self::Forms),
            Class::Encoded => self == Self::Forms,
        }
    }
}
