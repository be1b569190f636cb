//! What strangers see: the first scrape, compared with files.

use std::path::{Path, PathBuf};

use danube_signals::{BuildInfo, Limits, Signals};
use danube_telemetry::Format;

pub(crate) fn check(file: &str, text: &str) {
    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|it| it == "1") {
        std::fs::write(&file, text).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        golden == text,
        "{} differs from the declarations; UPDATE_GOLDEN=1 cargo test -p danube-signals writes it anew",
        file.display()
    );
}

/// The first scrape, less the numbers of this very process.
fn first_scrape(format: Format) -> String {
    let build = BuildInfo {
        version: "1.2.3",
        commit: "abc",
    };
    let signals = Signals::new(build, Limits::default());
    let text = signals.registry().encode(format);
    let mut out = String::new();
    for line in text.lines() {
        match line.split_once(' ') {
            Some((name, _)) if name.starts_with("process_") => out.push_str(&format!("{name} N\n")),
            _ => out.push_str(&format!("{line}\n")),
        }
    }
    out
}

#[test]
fn the_first_scrape_in_prometheus_text_is_as_committed() {
    check("tests/golden/metrics.txt", &first_scrape(Format::Text004));
}

#[test]
fn the_first_scrape_in_openmetrics_is_as_committed() {
    check(
        "tests/golden/metrics.openmetrics.txt",
        &first_scrape(Format::OpenMetrics1),
    );
}
