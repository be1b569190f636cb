//! What the caller wants.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

pub(crate) const USAGE: &str =
    "usage: danube-bench-joblog [--mib N] [--rounds N] [--only TEXT] [--core N] [--quick]
  --mib N      size of each made-up log (256)
  --rounds N   measured rounds (5)
  --only TEXT  only what has this in its name, as in `sparse: redactor`
  --core N     the core to run on (the last one allowed)
  --quick      16 MiB and 3 rounds: to see that it works, not to compare";

/// What the caller wants.
pub(crate) struct Options {
    pub(crate) bytes: usize,
    pub(crate) rounds: usize,
    only: Option<String>,
    core: Option<usize>,
}

impl Options {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut it = Self {
            bytes: 256 << 20,
            rounds: 5,
            only: None,
            core: None,
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--mib" => it.bytes = number(&value()?)? << 20,
                "--rounds" => it.rounds = number(&value()?)?,
                "--only" => it.only = Some(value()?),
                "--core" => it.core = Some(number(&value()?)?),
                "--quick" => (it.bytes, it.rounds) = (16 << 20, 3),
                _ => return Err(format!("no such option: {argument}")),
            }
        }
        if it.bytes < 2 << 20 || it.rounds == 0 {
            return Err("give at least 2 MiB and one round".to_owned());
        }
        Ok(it)
    }

    /// Whether a contender of this name takes part.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|it| name.contains(it))
    }

    /// Stays on one core, with all threads and children to come.
    pub(crate) fn pin(&self) {
        let allowed = sched_getaffinity(None).expect("ask for the allowed cores");
        let last = (0..CpuSet::MAX_CPU).rev().find(|it| allowed.is_set(*it));
        let Some(core) = self.core.or(last) else {
            return;
        };
        let mut one = CpuSet::new();
        one.set(core);
        match sched_setaffinity(None, &one) {
            Ok(()) => println!("on core {core}"),
            Err(error) => println!("not pinned to core {core}: {error}"),
        }
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("no number: {text}"))
}
