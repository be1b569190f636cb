//! What the caller wants.

use std::path::PathBuf;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

pub(crate) const USAGE: &str = "usage: danube-bench-joblog [OPTIONS]
  --mib N        size of each made-up log (256)
  --rounds N     measured rounds (5)
  --only TEXT    only what has this in its name: `sparse: redactor`, `dense`, `ESC inside`,
                 `whole path`, `memory`, `followers: latency`, `followers: HTTP`,
                 `followers: memory`, `instructions`
  --core N       the core to run on (the last one allowed)
  --whole-mib N  size of a pass of the whole path (2048)
  --dir DIR      where the whole path writes; no tmpfs (target)
  --danube PATH  the server that is followed (target/release/danube)
  --quick        small and 3 rounds: to see that it works, not to compare";

/// What the caller wants.
pub(crate) struct Options {
    pub(crate) bytes: usize,
    pub(crate) rounds: usize,
    pub(crate) whole_bytes: usize,
    pub(crate) dir: PathBuf,
    pub(crate) danube: PathBuf,
    only: Option<String>,
    core: Option<usize>,
    /// The cores that were allowed at the start.
    allowed: CpuSet,
}

impl Options {
    pub(crate) fn parse(arguments: Vec<String>) -> Result<Self, String> {
        let mut it = Self {
            bytes: 256 << 20,
            rounds: 5,
            whole_bytes: 2048 << 20,
            dir: "target".into(),
            danube: "target/release/danube".into(),
            only: None,
            core: None,
            allowed: sched_getaffinity(None).map_err(|it| it.to_string())?,
        };
        let mut arguments = arguments.into_iter();
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
                "--whole-mib" => it.whole_bytes = number(&value()?)? << 20,
                "--dir" => it.dir = value()?.into(),
                "--danube" => it.danube = value()?.into(),
                "--quick" => (it.bytes, it.rounds, it.whole_bytes) = (16 << 20, 3, 128 << 20),
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
        let last = (0..CpuSet::MAX_CPU)
            .rev()
            .find(|it| self.allowed.is_set(*it));
        let Some(core) = self.core.or(last) else {
            return;
        };
        let mut one = CpuSet::new();
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
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("no number: {text}"))
}
