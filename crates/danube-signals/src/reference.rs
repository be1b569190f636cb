//! Writes the reference page from the declarations.

use std::fmt::Write as _;

use danube_telemetry::FamilyDecl;
use danube_telemetry::metric::{Kind, LabelValues, OTHER, Start};

use crate::declared::{EventDecl, State, events, families};

const HEAD: &str = "\
# Signals

Every log event and every metric that Danube tells. This page is written from the
declarations in `crates/danube-signals`; `UPDATE_GOLDEN=1 cargo test -p danube-signals`
writes it anew.

## Log events

JSON lines on standard output, one object a line: `timestamp` (UTC, milliseconds),
`level` (`error`, `warning`, `info`, `debug`, `trace`), `logger`, `event`, `message` (only
where a person needs more), `trace_id` and `span_id` (in a traced request or job),
`request_id` (in a request), then the event's own fields in the order below. A field that
doesn't apply is left out. What a library writes appears as event `log` with a `message`.
When lines had to be dropped, the next line is `log_lines_dropped` (warning, logger
`danube.telemetry`) with how many `lines` there were.

";

const METRICS: &str = "
## Metrics

`GET /metrics`: Prometheus text 0.0.4, or OpenMetrics 1.0 for scrapers that ask for it.
Label kinds: values in braces are all there are, exported at 0 from the start unless the
metric is marked *when set*; *bounded* takes names, and past the limit (1,000 series for each
metric) new ones share `__other__`; *sparse* has known values that appear on first use;
*expiring* takes ids, and a series goes 5 minutes after its owner is done.

";

/// The page, as Markdown.
pub fn reference_markdown() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("| event | level | logger | fields | says |\n|---|---|---|---|---|\n");
    for event in events().filter(|it| it.state == State::Live) {
        event_row(event, event.about.trim(), &mut out);
    }
    out.push_str("\nNot yet told:\n\n");
    out.push_str("| event | level | logger | fields | told by |\n|---|---|---|---|---|\n");
    for event in events() {
        if let State::NotYet(part) = event.state {
            event_row(event, part, &mut out);
        }
    }
    out.push_str(METRICS);
    out.push_str("| metric | type | labels | what | recorded |\n|---|---|---|---|---|\n");
    for family in families().filter(|it| it.state == State::Live) {
        family_row(family.decl, family.recorded, &mut out);
    }
    out.push_str("\nNot yet recorded (exported at 0 where all label values are known, otherwise absent):\n\n");
    out.push_str("| metric | type | labels | what | recorded by |\n|---|---|---|---|---|\n");
    for family in families() {
        if let State::NotYet(part) = family.state {
            family_row(family.decl, part, &mut out);
        }
    }
    out
}

fn event_row(event: &EventDecl, last: &str, out: &mut String) {
    let mut level = event.level_name().to_owned();
    if !event.error_when.is_empty() {
        let _ = write!(level, " (error {})", event.error_when);
    }
    let fields: Vec<String> = event
        .fields
        .iter()
        .map(|field| format!("`{field}`"))
        .collect();
    let (name, logger, fields) = (event.name, event.logger, fields.join(", "));
    let _ = writeln!(
        out,
        "| `{name}` | {level} | `{logger}` | {fields} | {last} |"
    );
}

fn family_row(decl: &FamilyDecl, last: &str, out: &mut String) {
    let mut kind = match decl.kind {
        Kind::Counter => "counter".to_owned(),
        Kind::Gauge => "gauge".to_owned(),
        Kind::Info => "info".to_owned(),
        Kind::Histogram => {
            let bounds: Vec<String> = decl.buckets.iter().map(ToString::to_string).collect();
            format!("histogram {}", bounds.join(" "))
        }
    };
    if decl.start == Start::WhenSet {
        kind.push_str(", *when set*");
    }
    let labels: Vec<String> = decl
        .labels()
        .iter()
        .map(|label| match label.values {
            LabelValues::Closed(values) => format!("`{}` {{{}}}", label.name(), values.join(", ")),
            LabelValues::Sparse => format!("`{}` *sparse*", label.name()),
            LabelValues::Bounded => format!("`{}` *bounded*", label.name()),
            LabelValues::Expiring => format!("`{}` *expiring*", label.name()),
        })
        .collect();
    let (name, labels, help) = (
        decl.name(),
        labels.join(", "),
        decl.help.replace(OTHER, "`__other__`"),
    );
    let _ = writeln!(out, "| `{name}` | {kind} | {labels} | {help} | {last} |");
}
