//! Python with the packages of `ci/peers.txt`: readers of our formats that were
//! written by others.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use super::program::finish;

/// Reads an exposition; prints every sample as JSON.
const READ_EXPOSITION: &str = include_str!("python/exposition.py");

/// Reads OTLP requests; prints each as JSON.
const READ_OTLP: &str = include_str!("python/otlp.py");

/// Reads an SVG.
const READ_SVG: &str = include_str!("python/svg.py");

/// Verifies a webhook.
const VERIFY_WEBHOOK: &str = include_str!("python/webhook.py");

/// Judges files of a blueprint by our JSON Schemas.
const JUDGE_SCHEMAS: &str = include_str!("python/schemas.py");

/// The environment that `make deps` makes, beside cargo's own files.
#[track_caller]
pub(crate) fn environment() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let path = target
        .expect("cargo's folder for tests is in its target")
        .join("peers-venv");
    assert!(
        path.join("peers.txt").is_file(),
        "{} is not here or not complete; `make deps` makes it",
        path.display()
    );
    path
}

/// Runs a script with `input` as its standard input; returns what it printed.
#[track_caller]
fn run(script: &str, arguments: &[&str], input: &[u8]) -> String {
    let mut command = Command::new(environment().join("bin/python"));
    // Isolated: neither the caller's settings nor files beside us are used.
    command.args(["-I", "-c", script]).args(arguments);
    let ended = finish(command, input);
    assert!(
        ended.status.success(),
        "{}\n{}",
        ended.stderr,
        String::from_utf8_lossy(input)
    );
    ended.stdout
}

/// Holds the JSON Schemas in one directory against the blueprint in another.
#[track_caller]
pub(crate) fn judge_schemas(schemas: &Path, example: &Path) {
    let arguments = [schemas, example].map(|it| it.to_str().expect("a path of this repository"));
    assert_eq!(run(JUDGE_SCHEMAS, &arguments, b"").trim(), "ok");
}

/// One sample of an exposition, as Python's reader understood it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Sample {
    /// Name of the sample, with `_total`, `_bucket` and the like.
    pub(crate) name: String,
    /// Names and values, sorted.
    pub(crate) labels: Vec<(String, String)>,
    /// The value as Python writes it (`nan`, `inf`, `1.0`).
    pub(crate) value: String,
    /// Labels and value of the exemplar.
    pub(crate) exemplar: Option<(Vec<(String, String)>, String)>,
    /// Name of its family, without suffixes.
    pub(crate) family: String,
    /// Type of its family.
    pub(crate) kind: String,
    /// Unit of its family.
    pub(crate) unit: String,
    /// Help of its family.
    pub(crate) help: String,
}

impl Sample {
    /// What makes it one series.
    pub(crate) fn series(&self) -> (&str, &[(String, String)]) {
        (&self.name, &self.labels)
    }

    /// The value as a number.
    pub(crate) fn number(&self) -> f64 {
        self.value
            .parse()
            .expect("Python and Rust name numbers alike")
    }
}

/// Reads Prometheus text 0.0.4.
#[track_caller]
pub(crate) fn read_text(text: &str) -> Vec<Sample> {
    read("text", text)
}

/// Reads OpenMetrics 1.0, as strictly as `prometheus_client` does.
#[track_caller]
pub(crate) fn read_openmetrics(text: &str) -> Vec<Sample> {
    read("openmetrics", text)
}

#[track_caller]
fn read(format: &str, text: &str) -> Vec<Sample> {
    let printed = run(READ_EXPOSITION, &[format], text.as_bytes());
    serde_json::from_str(&printed).expect("the script prints samples")
}

/// Reads OTLP requests (path, content encoding, body) with `opentelemetry-proto`;
/// ids are in hex.
#[track_caller]
pub(crate) fn read_otlp(requests: &[(&str, &str, &[u8])]) -> Vec<Value> {
    let mut input = Vec::new();
    for (path, encoding, body) in requests {
        let head = serde_json::json!({"path": path, "encoding": encoding, "length": body.len()});
        input.extend_from_slice(format!("{head}\n").as_bytes());
        input.extend_from_slice(body);
    }
    let printed = run(READ_OTLP, &[], &input);
    let lines = printed.lines();
    lines
        .map(|it| serde_json::from_str(it).expect("the script prints JSON"))
        .collect()
}

/// Reads an SVG as XML: `{"elements", "attributes", "titles"}`.
#[track_caller]
pub(crate) fn read_svg(svg: &[u8]) -> Value {
    let printed = run(READ_SVG, &[], svg);
    serde_json::from_str(&printed).expect("the script prints JSON")
}

/// Verifies `{"secret", "headers", "body"}`: `{"payload"}`, or `{"refused"}`.
#[track_caller]
pub(crate) fn verify_webhook(given: &Value) -> Value {
    let printed = run(VERIFY_WEBHOOK, &[], given.to_string().as_bytes());
    serde_json::from_str(&printed).expect("the script prints JSON")
}

/// The value of this series; fails when it isn't there.
#[track_caller]
pub(crate) fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let wanted = |it: &&Sample| {
        let same = |(a, b): (&(String, String), &(&str, &str))| a.0 == b.0 && a.1 == b.1;
        it.name == name && it.labels.len() == labels.len() && it.labels.iter().zip(labels).all(same)
    };
    let found: Vec<&Sample> = samples.iter().filter(wanted).collect();
    assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
    found[0].number()
}
