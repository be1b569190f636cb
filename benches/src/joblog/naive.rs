//! What people write first: a loop of `regex` replacements over each line, and
//! the same in Python.

use std::borrow::Cow;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use regex::bytes::{NoExpand, Regex};
use tempfile::TempDir;

use crate::contender::{Contender, timed};
use crate::values;

const MASK: &str = "[redacted]";

/// One rule of the naive loops.
struct Rule {
    /// In what both `regex` and Python's `re` understand.
    regex: &'static str,
    /// The first group stays.
    keep: bool,
    /// What is put behind the mask.
    after: &'static str,
}

const fn rule(regex: &'static str, keep: bool, after: &'static str) -> Rule {
    Rule { regex, keep, after }
}

/// A fair handful of rules, far fewer than the redactor has.
const RULES: &[Rule] = &[
    rule(
        r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*",
        false,
        "",
    ),
    rule(
        r#"(?i)((?:password|passwd|token|secret|api[_-]?key)["']?\s*[:=]\s*["']?)[^\s"'&]+"#,
        true,
        "",
    ),
    rule(
        r"(?i)((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{16,}",
        true,
        "",
    ),
    rule(r"\b(?:gh[pousr]|npm)_[A-Za-z0-9]{20,}", false, ""),
    rule(
        r"\b(?:glpat-|sk_live_|xox[abprs]-)[A-Za-z0-9_-]{10,}",
        false,
        "",
    ),
    rule(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}", false, ""),
    rule(r"(://[^\s/:@]*:)[^\s/@]+@", true, "@"),
];

/// One `replace_all` a rule and a value on each line. Values as they are, in no
/// other form, which flatters it.
pub(crate) struct Naive {
    rules: Vec<(Regex, Vec<u8>)>,
    values: Vec<Regex>,
}

impl Naive {
    /// With the first so many values.
    pub(crate) fn new(values: usize) -> Self {
        let rules = RULES.iter().map(|it| {
            let regex = Regex::new(&format!("(?-u){}", it.regex)).expect("a valid rule");
            let head = if it.keep { "${1}" } else { "" };
            (regex, format!("{head}{MASK}{}", it.after).into_bytes())
        });
        let values = values::values().into_iter().take(values).map(|it| {
            let text = String::from_utf8(it).expect("the values are ASCII");
            Regex::new(&regex::escape(&text)).expect("a valid literal")
        });
        Self {
            rules: rules.collect(),
            values: values.collect(),
        }
    }

    fn line<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        let mut line = Cow::Borrowed(line);
        for (regex, with) in &self.rules {
            if let Cow::Owned(changed) = regex.replace_all(&line, &with[..]) {
                line = Cow::Owned(changed);
            }
        }
        for regex in &self.values {
            if let Cow::Owned(changed) = regex.replace_all(&line, NoExpand(MASK.as_bytes())) {
                line = Cow::Owned(changed);
            }
        }
        line
    }
}

impl Contender for Naive {
    fn pass(&mut self, input: &[u8]) -> Duration {
        let mut out = Vec::with_capacity(input.len() + 4096);
        timed(|| {
            for line in input.split_inclusive(|it| *it == b'\n') {
                out.extend_from_slice(&self.line(line));
            }
            black_box(&out);
        })
    }

    fn output(&mut self, input: &[u8]) -> Option<Vec<u8>> {
        let lines = input.split_inclusive(|it| *it == b'\n');
        Some(lines.flat_map(|it| self.line(it).into_owned()).collect())
    }
}

/// A scrubber in Python: `re.sub` for each rule and `replace` for each value on
/// each line. Times itself.
pub(crate) struct Python {
    dir: TempDir,
}

const SCRUBBER: &str = include_str!("scrub.py");

impl Python {
    /// With the first so many values; nothing when Python is not there.
    pub(crate) fn new(values: usize) -> Option<Self> {
        let found = Command::new("python3")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !found.is_ok_and(|it| it.success()) {
            return None;
        }
        let dir = TempDir::new().expect("make a directory");
        let rules: Vec<_> = RULES
            .iter()
            .map(|it| (it.regex, it.keep, it.after))
            .collect();
        let values: Vec<_> = values::values()
            .into_iter()
            .take(values)
            .map(|it| String::from_utf8(it).expect("the values are ASCII"))
            .collect();
        let setup = serde_json::json!({ "mask": MASK, "rules": rules, "values": values });
        fs::write(dir.path().join("setup.json"), setup.to_string()).expect("write a file");
        Some(Self { dir })
    }

    fn run(&self, input: &[u8]) -> Duration {
        let file = |name: &str| self.dir.path().join(name);
        fs::write(file("in"), input).expect("write a file");
        let done = Command::new("python3")
            .args(["-c", SCRUBBER])
            .args(["setup.json", "in", "out"].map(file))
            .stdin(Stdio::null())
            .output()
            .expect("start Python");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let seconds = String::from_utf8_lossy(&done.stdout);
        Duration::from_secs_f64(seconds.trim().parse().expect("a time"))
    }

    fn out(&self) -> &Path {
        self.dir.path()
    }
}

impl Contender for Python {
    fn pass(&mut self, input: &[u8]) -> Duration {
        self.run(input)
    }

    fn output(&mut self, input: &[u8]) -> Option<Vec<u8>> {
        self.run(input);
        Some(fs::read(self.out().join("out")).expect("read a file"))
    }
}
