//! Lets contenders take turns on one log, checks what they put out, and prints
//! the table.

use std::time::Duration;

use danube_bench::figures::{digits, median, spread};
use memchr::{memchr, memmem};

use crate::contender::{Claim, Contender, Memcpy};
use crate::corpus::{Corpus, float};

/// A ratio that a contender is to reach.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// So much of the speed of copying the log.
    Memcpy(f64),
    /// So many times the naive loop with as many values.
    Naive(f64),
}

/// A contender and what is known of it.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) contender: Box<dyn Contender>,
    /// At most so much of the log, so that slow ones end.
    pub(crate) bytes_max: usize,
    pub(crate) claim: Claim,
    pub(crate) values: usize,
    /// Entries of one group must put out the same bytes.
    pub(crate) group: Option<String>,
    pub(crate) goals: Vec<Goal>,
    /// It is the naive loop that others are compared with.
    pub(crate) naive: bool,
}

/// One entry's rounds.
#[derive(Default)]
struct Times {
    /// GiB a second.
    speed: Vec<f64>,
    /// Its speed by that of the copy made just before.
    by_memcpy: Vec<f64>,
}

/// Runs all, round by round, after one round that does not count. A copy of the
/// whole log is made before each pass: a ratio compares two neighbours in time,
/// so that a slow minute of the machine hits both.
pub(crate) fn run(corpus: &Corpus, entries: &mut [Entry], rounds: usize) {
    check(corpus, entries);
    let mut floor = Memcpy::default();
    let mut floor_speed = Vec::new();
    let mut times: Vec<Times> = entries.iter().map(|_| Times::default()).collect();
    for round in 0..=rounds {
        for (entry, times) in entries.iter_mut().zip(&mut times) {
            let floor = speed(corpus.bytes.len(), floor.pass(&corpus.bytes));
            let input = prefix(&corpus.bytes, entry.bytes_max);
            let own = speed(input.len(), entry.contender.pass(input));
            if round > 0 {
                floor_speed.push(floor);
                times.speed.push(own);
                times.by_memcpy.push(own / floor);
            }
        }
    }
    print(entries, &times, &floor_speed);
}

/// So much of the log at most, to the end of a line.
fn prefix(bytes: &[u8], max: usize) -> &[u8] {
    if bytes.len() <= max {
        return bytes;
    }
    let rest = memchr(b'\n', &bytes[max..]).map_or(0, |it| it + 1);
    &bytes[..max + rest]
}

fn speed(bytes: usize, time: Duration) -> f64 {
    float(bytes) / float(1 << 30) / time.as_secs_f64()
}

/// Nobody wins by doing nothing: what a contender claims to take out must be
/// gone, and the rest must be there.
fn check(corpus: &Corpus, entries: &mut [Entry]) {
    let input = &corpus.bytes[..corpus.checked];
    let mut groups: Vec<(String, String, Vec<u8>)> = Vec::new();
    for entry in entries {
        let name = &entry.name;
        let Some(out) = entry.contender.output(input) else {
            continue;
        };
        let claimed = corpus
            .planted
            .iter()
            .filter(|it| entry.claim.holds(it.class));
        for secret in claimed {
            let leaked = memmem::find(&out, &secret.needle).is_some();
            assert!(
                !leaked,
                "{name} left a secret ({:?}): {}",
                secret.class,
                String::from_utf8_lossy(&secret.needle)
            );
        }
        let lines = |it: &[u8]| memchr::memchr_iter(b'\n', it).count();
        assert!(
            lines(&out) == lines(input) && out.len() > input.len() / 10 * 9,
            "{name} lost lines or text"
        );
        let Some(group) = &entry.group else { continue };
        match groups.iter().find(|it| it.0 == *group) {
            Some((_, other, expected)) => {
                assert!(
                    *expected == out,
                    "{name} and {other} differ in their output"
                );
            }
            None => groups.push((group.clone(), name.clone(), out)),
        }
    }
    println!(
        "  {} secrets in the first {} KiB looked for in every output",
        corpus.planted.len(),
        corpus.checked >> 10
    );
}

fn print(entries: &[Entry], times: &[Times], floor: &[f64]) {
    println!(
        "  {:<46} {:>24} {:>9} {:>8}  goal",
        "contender", "GiB/s (min-max)", "x memcpy", "x naive"
    );
    println!(
        "  {:<46} {:>24} {:>9} {:>8}",
        "memcpy of the whole log (the floor)",
        spread(floor),
        "1",
        "-"
    );
    for (entry, own) in entries.iter().zip(times) {
        let naive = entries
            .iter()
            .zip(times)
            .find(|(it, _)| it.naive && it.values == entry.values);
        let by_memcpy = median(&own.by_memcpy);
        let by_naive = naive
            .filter(|_| entry.claim != Claim::Nothing)
            .map(|(_, it)| median(&own.speed) / median(&it.speed));
        let goals: Vec<_> = entry
            .goals
            .iter()
            .map(|goal| match *goal {
                Goal::Memcpy(least) => verdict(least, "memcpy", Some(by_memcpy)),
                Goal::Naive(least) => verdict(least, "naive", by_naive),
            })
            .collect();
        println!(
            "  {:<46} {:>24} {:>9} {:>8}  {}",
            entry.name,
            spread(&own.speed),
            digits(by_memcpy),
            by_naive.map_or_else(|| "-".to_owned(), digits),
            goals.join(", ")
        );
    }
}

/// `>= 0.18 x memcpy: met`.
pub(crate) fn verdict(least: f64, of: &str, reached: Option<f64>) -> String {
    let verdict = match reached {
        None => "not measured",
        Some(it) if it >= least => "met",
        Some(_) => "MISSED",
    };
    format!(">= {least} x {of}: {verdict}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::{self, Kind};

    /// Puts out what it is told to.
    struct Fake(fn(&[u8]) -> Vec<u8>);

    impl Contender for Fake {
        fn pass(&mut self, _: &[u8]) -> Duration {
            Duration::from_secs(1)
        }

        fn output(&mut self, input: &[u8]) -> Option<Vec<u8>> {
            Some(self.0(input))
        }
    }

    fn checked(claim: Claim, output: fn(&[u8]) -> Vec<u8>) {
        let entry = Entry {
            name: "fake".to_owned(),
            contender: Box::new(Fake(output)),
            bytes_max: usize::MAX,
            claim,
            values: 0,
            group: None,
            goals: Vec::new(),
            naive: false,
        };
        check(&corpus::make(Kind::Sparse, 1 << 20), &mut [entry]);
    }

    #[test]
    #[should_panic(expected = "left a secret")]
    fn a_contender_that_changes_nothing_is_found_out() {
        checked(Claim::Patterns, <[u8]>::to_vec);
    }

    #[test]
    #[should_panic(expected = "lost lines")]
    fn a_contender_that_puts_out_nothing_is_found_out() {
        checked(Claim::Forms, |_| Vec::new());
    }

    #[test]
    fn a_contender_that_claims_nothing_may_change_nothing() {
        checked(Claim::Nothing, <[u8]>::to_vec);
    }
}
