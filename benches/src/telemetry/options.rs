//! What the command line says.

use std::path::PathBuf;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Told on `--help` and after a mistake.
pub(crate) const USAGE: &str = "\
usage: danube-bench-telemetry [OPTIONS]
  --rounds N       rounds of the small figures (77)
  --pairs N        pairs of the whole job's figure (30)
  --jobs N         jobs of each of its passes (400)
  --only NAME      only what holds this in its name: `counter`, `histogram`, `scrape`,
                   `line`, `span`, `tree`, `whole`
  --case NAME      of the small tables only the first case and those that hold this
  --control        the whole job's figure with everything off on both sides: how much
                   two equal servers differ
  --danube PATH    the server of the whole job's figure (target/release/danube)
  --beside PATH    another build as its other side, to see what a change costs
  --quick          few rounds and pairs: to see that it works, not to compare";

/// What the caller wants.
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) pairs: usize,
    pub(crate) jobs: usize,
    pub(crate) danube: PathBuf,
    /// The program of the side that has everything off, if it is another.
    pub(crate) beside: Option<PathBuf>,
    pub(crate) control: bool,
    only: Option<String>,
    /// Part of a case's name; empty for all.
    pub(crate) case: String,
    /// The cores that were allowed at the start.
    allowed: CpuSet,
}

impl Options {
    pub(crate) fn parse(arguments: Vec<String>) -> Result<Self, String> {
        let mut it = Self {
            rounds: 77,
            pairs: 30,
            jobs: 400,
            danube: "target/release/danube".into(),
            beside: None,
            control: false,
            only: None,
            case: String::new(),
            allowed: sched_getaffinity(None).map_err(|it| it.to_string())?,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--rounds" => it.rounds = number(&value()?)?,
                "--pairs" => it.pairs = number(&value()?)?,
                "--jobs" => it.jobs = number(&value()?)?,
                "--only" => it.only = Some(value()?),
                "--control" => it.control = true,
                "--case" => it.case = value()?,
                "--danube" => it.danube = value()?.into(),
                "--beside" => it.beside = Some(value()?.into()),
                "--quick" => (it.rounds, it.pairs, it.jobs) = (9, 4, 200),
                _ => return Err(format!("no such option: {argument}")),
            }
        }
        if it.rounds == 0 || it.pairs == 0 || it.jobs == 0 {
            return Err("give at least one round, one pair and one job".to_owned());
        }
        Ok(it)
    }

    /// Whether a section of this name takes part.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|it| name.contains(it))
    }

    /// Runs on the last allowed core: one thread that moves takes its time for it.
    pub(crate) fn pin(&self) {
        let last = (0..CpuSet::MAX_CPU)
            .rev()
            .find(|it| self.allowed.is_set(*it));
        let mut one = CpuSet::new();
        let Some(core) = last else { return };
        one.set(core);
        if let Err(error) = sched_setaffinity(None, &one) {
            println!("not pinned to core {core}: {error}");
        }
    }

    /// Runs on all cores again.
    pub(crate) fn unpin(&self) {
        if let Err(error) = sched_setaffinity(None, &self.allowed) {
            println!("still pinned: {error}");
        }
    }

    /// How many cores there are to run on.
    pub(crate) fn cores(&self) -> usize {
        (0..CpuSet::MAX_CPU)
            .filter(|it| self.allowed.is_set(*it))
            .count()
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("no number: {text}"))
}
