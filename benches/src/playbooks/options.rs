//! What the command line says.

use std::path::PathBuf;

/// Told after a mistake.
pub(crate) const USAGE: &str = "\
usage: danube-bench-playbooks [OPTIONS]
  --pairs N        pairs of bare and ours (40)
  --jobs N         playbooks of the crowd (1000)
  --workers N      worker processes that it has (4)
  --each N         playbooks at once of each worker (1)
  --redis          the workers of the crowd hear of jobs in Redis
  --only NAME      `overhead` or `crowd`
  --danube PATH    the program (target/release/danube)
  --quick          few of everything: to see that it works, not to compare";

/// What the caller wants.
pub(crate) struct Options {
    pub(crate) pairs: usize,
    pub(crate) jobs: usize,
    pub(crate) workers: usize,
    pub(crate) each: usize,
    pub(crate) redis: bool,
    pub(crate) danube: PathBuf,
    only: Option<String>,
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut it = Self {
            pairs: 40,
            jobs: 1_000,
            workers: 4,
            each: 1,
            redis: false,
            danube: "target/release/danube".into(),
            only: None,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--pairs" => it.pairs = number(&value()?)?,
                "--jobs" => it.jobs = number(&value()?)?,
                "--workers" => it.workers = number(&value()?)?,
                "--each" => it.each = number(&value()?)?,
                "--redis" => it.redis = true,
                "--only" => it.only = Some(value()?),
                "--danube" => it.danube = value()?.into(),
                "--quick" => (it.pairs, it.jobs) = (4, 40),
                _ => return Err(format!("no such option: {argument}")),
            }
        }
        Ok(it)
    }

    /// Whether a part of this name takes part.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|it| it == name)
    }
}

fn number(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(it @ 1..) => Ok(it),
        _ => Err(format!("{text} isn't a number from 1 on")),
    }
}
