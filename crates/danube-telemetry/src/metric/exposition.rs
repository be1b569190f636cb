//! Writes the text that a scrape reads: Prometheus 0.0.4 and OpenMetrics 1.0.
//! Numbers and `le` look the same in both, so a scraper that changes its mind
//! keeps its series.

use super::cell::{HistogramSample, Sample};
use super::decl::{FamilyDecl, Kind};
use super::exemplar::Exemplar;
use super::family::SeriesRef;
use super::negotiate::Format;
use super::registry::Registry;
use crate::context::hex_into;

/// Appends all families of `registry`; returns how many series there are, where a
/// histogram counts as one.
pub(super) fn encode(registry: &Registry, format: Format, out: &mut Vec<u8>) -> usize {
    let mut count = 0;
    registry.collect(&mut |family| {
        let decl = family.decl();
        let mut first = true;
        family.visit(&mut |series| {
            if std::mem::take(&mut first) {
                header(decl, format, out);
            }
            write_series(decl, &series, format, out);
            count += 1;
        });
    });
    if format == Format::OpenMetrics1 {
        out.extend_from_slice(b"# EOF\n");
    }
    count
}

fn header(decl: &FamilyDecl, format: Format, out: &mut Vec<u8>) {
    let full = decl.name();
    let (name, kind) = match (format, decl.kind) {
        (Format::OpenMetrics1, Kind::Counter) => {
            (full.strip_suffix("_total").unwrap_or(full), "counter")
        }
        (Format::OpenMetrics1, Kind::Info) => (full.strip_suffix("_info").unwrap_or(full), "info"),
        (_, Kind::Counter) => (full, "counter"),
        (_, Kind::Gauge | Kind::Info) => (full, "gauge"),
        (_, Kind::Histogram) => (full, "histogram"),
    };
    push(out, ["# HELP ", name, " "]);
    for byte in decl.help.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            // An escaped quote is an error in 0.0.4 and a must in OpenMetrics.
            b'"' if format == Format::OpenMetrics1 => out.extend_from_slice(b"\\\""),
            byte => out.push(byte),
        }
    }
    push(out, ["\n# TYPE ", name, " ", kind, "\n"]);
    let unit = decl.unit_word();
    if format == Format::OpenMetrics1 && has_unit(name, unit) {
        push(out, ["# UNIT ", name, " ", unit, "\n"]);
    }
}

/// OpenMetrics allows a unit only where the name ends with it.
fn has_unit(name: &str, unit: &str) -> bool {
    !unit.is_empty()
        && name
            .strip_suffix(unit)
            .is_some_and(|rest| rest.ends_with('_'))
}

/// Room is made once for all parts: this runs for every series.
fn push<const N: usize>(out: &mut Vec<u8>, parts: [&str; N]) {
    out.reserve(parts.iter().map(|it| it.len()).sum());
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

fn write_series(decl: &FamilyDecl, series: &SeriesRef<'_>, format: Format, out: &mut Vec<u8>) {
    let labels = series.labels;
    match &series.sample {
        Sample::Histogram(histogram) => {
            return write_histogram(decl.name(), labels, histogram, format, out);
        }
        Sample::Counter(value) => {
            line_head(decl.name(), "", labels, out);
            whole(*value, out);
        }
        Sample::Gauge(value) => {
            line_head(decl.name(), "", labels, out);
            push(out, [itoa::Buffer::new().format(*value)]);
        }
        Sample::FloatCounter(value) | Sample::FloatGauge(value) => {
            line_head(decl.name(), "", labels, out);
            float(*value, out);
        }
    }
    out.push(b'\n');
}

fn write_histogram(
    name: &str,
    labels: &str,
    histogram: &HistogramSample<'_>,
    format: Format,
    out: &mut Vec<u8>,
) {
    let comma = if labels.is_empty() { "" } else { "," };
    let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
    for (at, (bound, count)) in bounds.zip(histogram.cumulative.iter()).enumerate() {
        push(out, [name, "_bucket{", labels, comma, "le=\""]);
        float(bound, out);
        push(out, ["\"} "]);
        whole(*count, out);
        if format == Format::OpenMetrics1
            && let Some(exemplar) = histogram.exemplar(at)
        {
            write_exemplar(&exemplar, out);
        }
        out.push(b'\n');
    }
    line_head(name, "_sum", labels, out);
    float(histogram.sum, out);
    out.push(b'\n');
    line_head(name, "_count", labels, out);
    whole(
        histogram.cumulative.last().copied().unwrap_or_default(),
        out,
    );
    out.push(b'\n');
}

/// ` # {trace_id="…",span_id="…"} value seconds`, which only OpenMetrics has.
fn write_exemplar(exemplar: &Exemplar, out: &mut Vec<u8>) {
    push(out, [" # {trace_id=\""]);
    hex_into(&exemplar.trace_id, out);
    push(out, ["\",span_id=\""]);
    hex_into(&exemplar.span_id, out);
    push(out, ["\"} "]);
    float(exemplar.value, out);
    out.push(b' ');
    let millis = exemplar.time_unix_nanos / 1_000_000;
    whole(millis / 1_000, out);
    let digits = millis % 1_000 + 1_000;
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(digits);
    push(out, [".", &digits[1..]]);
}

fn line_head(name: &str, suffix: &str, labels: &str, out: &mut Vec<u8>) {
    if labels.is_empty() {
        push(out, [name, suffix, " "]);
    } else {
        push(out, [name, suffix, "{", labels, "} "]);
    }
}

/// Whole numbers without the machinery of `fmt`, which is most of a scrape's cost.
fn whole(value: u64, out: &mut Vec<u8>) {
    push(out, [itoa::Buffer::new().format(value)]);
}

/// Canonical float: always with a point or an exponent, as OpenMetrics wants `le` to be.
fn float(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        push(out, [zmij::Buffer::new().format_finite(value)]);
    } else if value.is_nan() {
        push(out, ["NaN"]);
    } else {
        push(out, [if value > 0.0 { "+Inf" } else { "-Inf" }]);
    }
}
