//! Writes the text that a scrape reads: Prometheus 0.0.4 and OpenMetrics 1.0.
//! Numbers and `le` look the same in both, so a scraper that changes its mind
//! keeps its series.

use std::fmt::Write as _;

use super::cell::{HistogramSample, Sample};
use super::decl::{FamilyDecl, Kind};
use super::family::SeriesRef;
use super::negotiate::Format;
use super::registry::Registry;

/// Appends all families of `registry`.
pub(super) fn encode(registry: &Registry, format: Format, out: &mut String) {
    registry.collect(&mut |family| {
        let mut first = true;
        family.visit(&mut |series| {
            if std::mem::take(&mut first) {
                header(family.decl(), format, out);
            }
            write_series(family.decl(), &series, out);
        });
    });
    if format == Format::OpenMetrics1 {
        out.push_str("# EOF\n");
    }
}

fn header(decl: &FamilyDecl, format: Format, out: &mut String) {
    let (name, kind) = match (format, decl.kind) {
        (Format::OpenMetrics1, Kind::Counter) => (
            decl.name().strip_suffix("_total").unwrap_or(decl.name()),
            "counter",
        ),
        (Format::OpenMetrics1, Kind::Info) => (
            decl.name().strip_suffix("_info").unwrap_or(decl.name()),
            "info",
        ),
        (_, Kind::Counter) => (decl.name(), "counter"),
        (_, Kind::Gauge | Kind::Info) => (decl.name(), "gauge"),
        (_, Kind::Histogram) => (decl.name(), "histogram"),
    };
    out.push_str("# HELP ");
    out.push_str(name);
    out.push(' ');
    for c in decl.help.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            // An escaped quote is an error in 0.0.4 and a must in OpenMetrics.
            '"' if format == Format::OpenMetrics1 => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    push(out, &["\n# TYPE ", name, " ", kind, "\n"]);
    if format == Format::OpenMetrics1 && has_unit(name, decl.unit_word()) {
        push(out, &["# UNIT ", name, " ", decl.unit_word(), "\n"]);
    }
}

/// OpenMetrics allows a unit only where the name ends with it.
fn has_unit(name: &str, unit: &str) -> bool {
    !unit.is_empty()
        && name
            .strip_suffix(unit)
            .is_some_and(|rest| rest.ends_with('_'))
}

fn push(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
}

fn write_series(decl: &FamilyDecl, series: &SeriesRef<'_>, out: &mut String) {
    let SeriesRef { labels, sample } = series;
    if let Sample::Histogram(histogram) = sample {
        return write_histogram(decl.name(), labels, histogram, out);
    }
    write_name(decl.name(), "", labels, out);
    match sample {
        Sample::Counter(value) => whole(*value, out),
        Sample::Gauge(value) => {
            if *value < 0 {
                out.push('-');
            }
            whole(value.unsigned_abs(), out);
        }
        Sample::FloatCounter(value) | Sample::FloatGauge(value) => float(*value, out),
        Sample::Histogram(_) => {}
    }
    out.push('\n');
}

fn write_histogram(name: &str, labels: &str, histogram: &HistogramSample<'_>, out: &mut String) {
    let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
    for (bound, count) in bounds.zip(&histogram.cumulative) {
        push(
            out,
            &[
                name,
                "_bucket{",
                labels,
                if labels.is_empty() { "" } else { "," },
                "le=\"",
            ],
        );
        float(bound, out);
        out.push_str("\"} ");
        whole(*count, out);
        out.push('\n');
    }
    write_name(name, "_sum", labels, out);
    float(histogram.sum, out);
    out.push('\n');
    write_name(name, "_count", labels, out);
    whole(
        histogram.cumulative.last().copied().unwrap_or_default(),
        out,
    );
    out.push('\n');
}

fn write_name(name: &str, suffix: &str, labels: &str, out: &mut String) {
    push(out, &[name, suffix]);
    if !labels.is_empty() {
        push(out, &["{", labels, "}"]);
    }
    out.push(' ');
}

/// Whole numbers without the machinery of `fmt`, which is most of a scrape's cost.
fn whole(mut value: u64, out: &mut String) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).expect("a remainder of ten is a digit");
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.push_str(std::str::from_utf8(&digits[at..]).expect("digits are ASCII"));
}

/// Canonical float: always with a point, as OpenMetrics wants `le` to be.
fn float(value: f64, out: &mut String) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        let _ = write!(out, "{value:?}");
    }
}
