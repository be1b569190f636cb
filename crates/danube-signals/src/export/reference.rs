//! The reference page.

use std::fmt::Write as _;

use danube_telemetry::metric::{OTHER, Start};
use danube_telemetry::{FamilyDecl, LabelEnum as _};

use super::ExportOptions;
use super::prometheus::promql;
use super::text::waits_for;
use crate::alerts::Alert;
use crate::catalogue::{kind_shown, labels_shown, series_max};
use crate::declared::{EventDecl, State, events, families};
use crate::labels::{Check, HealthStatus};
use crate::panels::{Dashboard, Panel, panels};
use crate::span::{SpanDecl, spans};

const HEAD: &str = "\
# Signals

Everything that Danube tells: log events, metrics, panels, alerts, health checks. This page is
written by `danube signals export` from the declarations in `crates/danube-signals`, and so
are the files in [`deploy/`](../deploy). `danube signals list` lists the same,
`danube signals explain NAME` says everything about one of them.

A signal whose part of Danube doesn't exist yet is *not yet* told; it is declared so that its
name is settled.

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

`GET /metrics`: Prometheus text 0.0.4, or OpenMetrics 1.0 for scrapers that ask for it; there
duration histograms carry exemplars with the `trace_id`. Over OTLP the same metrics have the
names in the second column, with units in UCUM.

Label kinds: values in braces are all there are, exported at 0 from the start unless the
metric is marked *when set*; *bounded* takes names, and past the limit new ones share
`__other__`; *sparse* has known values that appear on first use; *expiring* takes ids, and a
series goes 5 minutes after its owner is done. *Series* is how many combinations of label
values there can be, without the buckets of a histogram.

";

const PANELS: &str = "
## Panels

The dashboards in [`deploy/grafana`](../deploy/grafana) draw these. `$__rate_interval` is
Grafana's window; outside of it, four times the scrape interval or more does: `1m`.

";

const ALERTS: &str = "
## Alerts

The rules in [`deploy/prometheus`](../deploy/prometheus). Each name leads to its page: what it
means, what to look at, what to do. No share of jobs or calls alerts while there are none.

";

const HEALTH: &str = "
## Health checks

`GET /health` answers as long as the process does. `GET /health/ready` shows the checks' latest
results and is 503 while one that gates readiness has failed. [health.md](health.md) says what each
looks at, how often, and what is tried when it fails.

";

const SPANS: &str = "
## Spans

[traces.md](traces.md) shows them as a tree, with what tools inside a job add. Log lines of a
request or of work for a job carry its `trace_id` and `span_id`. A `traceparent` header of a
request is taken over, and stored with the job that it submits. An attribute that doesn't apply
is left out; what failed has the status ERROR.

| span | kind | attributes | from when to when |
|---|---|---|---|
";

/// The page, as Markdown.
pub(super) fn page(options: &ExportOptions) -> String {
    let mut out = HEAD.to_owned();
    write_events(&mut out);
    out.push_str(METRICS);
    write_metrics(&mut out);
    out.push_str(PANELS);
    for dashboard in Dashboard::ALL {
        let _ = writeln!(out, "### {}\n", dashboard.title());
        for panel in panels().iter().filter(|it| it.dashboard == dashboard) {
            write_panel(panel, &mut out);
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out.push_str(ALERTS);
    for alert in options.alerts() {
        write_alert(&alert, &mut out);
    }
    out.push_str(HEALTH);
    let code = |all: &[&str]| -> String {
        let all: Vec<String> = all.iter().map(|it| format!("`{it}`")).collect();
        all.join(", ")
    };
    let _ = writeln!(
        out,
        "Checks: {}. Results: {}.",
        code(Check::VALUES),
        code(HealthStatus::VALUES)
    );
    out.push_str(SPANS);
    for SpanDecl {
        name,
        kind,
        attributes,
        about,
    } in spans()
    {
        let attributes = code(attributes);
        let _ = writeln!(out, "| `{name}` | {kind} | {attributes} | {about} |");
    }
    out
}

fn write_events(out: &mut String) {
    out.push_str("| event | level | logger | fields | says |\n|---|---|---|---|---|\n");
    for event in events().filter(|it| it.state == State::Live) {
        event_row(event, event.about.trim(), out);
    }
    out.push_str("\nNot yet told:\n\n");
    out.push_str("| event | level | logger | fields | told by |\n|---|---|---|---|---|\n");
    for event in events() {
        if let Some(part) = waits_for(event.state) {
            event_row(event, &format!("{part} (not yet)"), out);
        }
    }
}

fn event_row(event: &EventDecl, last: &str, out: &mut String) {
    let mut level = event.level_name().to_owned();
    if !event.error_when.is_empty() {
        let _ = write!(level, " (error {})", event.error_when);
    }
    let fields: Vec<String> = event.fields.iter().map(|it| format!("`{it}`")).collect();
    let (name, fields) = (event.name, fields.join(", "));
    let mut logger = format!("`{}`", event.logger);
    if !event.playbook_logger.is_empty() {
        let _ = write!(logger, " (playbook jobs `{}`)", event.playbook_logger);
    }
    let _ = writeln!(out, "| `{name}` | {level} | {logger} | {fields} | {last} |");
}

fn write_metrics(out: &mut String) {
    let columns = "|---|---|---|---|---|---|---|---|\n";
    out.push_str(
        "| metric | OpenTelemetry name | type | unit | labels | series | what | recorded |\n",
    );
    out.push_str(columns);
    for family in families().filter(|it| it.state == State::Live) {
        family_row(family.decl, family.recorded, out);
    }
    out.push_str(
        "\nNot yet recorded (exported at 0 where all label values are known, otherwise absent):\n\n",
    );
    out.push_str(
        "| metric | OpenTelemetry name | type | unit | labels | series | what | recorded by |\n",
    );
    out.push_str(columns);
    for family in families() {
        if let Some(part) = waits_for(family.state) {
            family_row(family.decl, &format!("{part} (not yet)"), out);
        }
    }
}

fn family_row(decl: &FamilyDecl, last: &str, out: &mut String) {
    let mut kind = kind_shown(decl);
    if decl.start == Start::WhenSet {
        kind.push_str(", *when set*");
    }
    let labels: Vec<String> = labels_shown(decl)
        .into_iter()
        .map(|(name, values)| format!("`{name}` {values}"))
        .collect();
    let unit = if decl.unit.is_empty() {
        String::new()
    } else {
        format!("`{}`", decl.unit)
    };
    let _ = writeln!(
        out,
        "| `{}` | `{}` | {kind} | {unit} | {} | {} | {} | {last} |",
        decl.name(),
        decl.otel_name,
        labels.join(", "),
        thousands(series_max(decl)),
        decl.help.replace(OTHER, "`__other__`"),
    );
}

/// With a comma at the thousands.
fn thousands(number: usize) -> String {
    if number < 1_000 {
        return number.to_string();
    }
    format!("{},{:03}", number / 1_000, number % 1_000)
}

fn write_panel(panel: &Panel, out: &mut String) {
    let _ = write!(
        out,
        "- **{}** (`{}`, in {}). {}",
        panel.title,
        panel.name,
        panel.unit.as_str(),
        panel.description
    );
    if let Some(part) = waits_for(panel.state()) {
        let _ = write!(out, " Not yet: it comes with {part}.");
    }
    out.push_str("\n\n  ```promql\n");
    for query in &panel.queries {
        let _ = writeln!(out, "  {}", query.grafana());
    }
    out.push_str("  ```\n");
}

fn write_alert(alert: &Alert, out: &mut String) {
    let page = alert.runbook();
    // From the page's own directory.
    let page = page.trim_start_matches("docs/");
    let _ = write!(
        out,
        "- [`{}`]({page}), {}, after {} s: {}.",
        alert.name,
        alert.severity.as_str(),
        alert.holds_for.as_secs(),
        alert.summary
    );
    if let Some(part) = waits_for(alert.state()) {
        let _ = write!(out, " Not yet: it comes with {part}.");
    }
    let _ = writeln!(
        out,
        "\n\n  ```promql\n  # {}\n  {}\n  ```",
        alert.rule_name(),
        promql(alert)
    );
}
