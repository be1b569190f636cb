//! Writes the text that a scrape reads: Prometheus 0.0.4 and OpenMetrics 1.0.
//! Numbers and `le` look the same in both, so a scraper that changes its mind
//! keeps its series.
//!
//! `_created` is left out: Prometheus before 3 stores it as three more series for every
//! histogram. Start times go out where they belong to a point, in the push.

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
    let mut bounds = Bounds::default();
    registry.collect(&mut |family| {
        let decl = family.decl();
        let mut first = true;
        family.visit(&mut |series| {
            if std::mem::take(&mut first) {
                header(decl, format, out);
                bounds.set(decl);
            }
            write_series(decl, &series, (format, &bounds), out);
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

/// The bounds of a family as they are written in each of its series: `le="0.5"} `.
#[derive(Default)]
struct Bounds {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Bounds {
    fn set(&mut self, decl: &FamilyDecl) {
        self.text.clear();
        self.ends.clear();
        if decl.kind != Kind::Histogram {
            return;
        }
        for bound in decl.buckets.iter().copied().chain([f64::INFINITY]) {
            push(&mut self.text, ["le=\""]);
            float(bound, &mut self.text);
            push(&mut self.text, ["\"} "]);
            self.ends.push(self.text.len());
        }
    }

    fn each(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let bound = &self.text[start..*end];
            start = *end;
            bound
        })
    }
}

fn write_series(
    decl: &FamilyDecl,
    series: &SeriesRef<'_>,
    (format, bounds): (Format, &Bounds),
    out: &mut Vec<u8>,
) {
    let (name, head) = (decl.name(), series.head);
    match &series.sample {
        Sample::Histogram(histogram) => {
            write_histogram(name, series, histogram, (format, bounds), out);
        }
        Sample::Counter(value) => {
            push(out, [name, head, itoa::Buffer::new().format(*value), "\n"]);
        }
        Sample::Gauge(value) => {
            push(out, [name, head, itoa::Buffer::new().format(*value), "\n"]);
        }
        Sample::FloatCounter(value) | Sample::FloatGauge(value) => {
            push(out, [name, head]);
            float(*value, out);
            out.push(b'\n');
        }
    }
}

fn write_histogram(
    name: &str,
    series: &SeriesRef<'_>,
    histogram: &HistogramSample<'_>,
    (format, bounds): (Format, &Bounds),
    out: &mut Vec<u8>,
) {
    let labels = series.labels;
    let comma = if labels.is_empty() { "" } else { "," };
    let counts = histogram.cumulative.iter();
    for (at, (bound, count)) in bounds.each().zip(counts).enumerate() {
        push(out, [name, "_bucket{", labels, comma]);
        out.extend_from_slice(bound);
        whole(*count, out);
        if format == Format::OpenMetrics1
            && let Some(exemplar) = histogram.exemplar(at)
        {
            write_exemplar(&exemplar, out);
        }
        out.push(b'\n');
    }
    push(out, [name, "_sum", series.head]);
    float(histogram.sum, out);
    push(out, ["\n", name, "_count", series.head]);
    whole(histogram.count(), out);
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
