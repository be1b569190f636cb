//! `danube signals explain NAME`: everything about one signal.

use std::fmt::Write as _;

use clap::{Arg, ArgMatches, Command};
use danube_signals::{Alert, EventDecl, FamilyState, Panel, Signal, State};
use danube_telemetry::LabelEnum as _;
use danube_telemetry::metric::{Kind, LabelDecl, LabelValues, Start};
use serde_json::{Value, json};

use super::{summary, unknown};
use crate::failure::Failure;
use crate::terminal::Screen;

/// Columns of the names before what is said.
const NAME_COLUMNS: usize = 15;

pub(super) fn command() -> Command {
    Command::new("explain")
        .about("Say everything about a log event, a metric, a panel or an alert")
        .after_help("An alert is explained with its page: what it means and what to do.")
        .arg(Arg::new("name").value_name("NAME").required(true).help(
            "Such as job_failed, danube_jobs_total or danube.jobs, jobs_per_hour, master_down",
        ))
}

pub(super) fn perform(matches: &ArgMatches, screen: &Screen) -> Result<(), Failure> {
    let name = matches.get_one::<String>("name").expect("clap requires it");
    let found = danube_signals::find(name);
    if found.is_empty() {
        return Err(unknown(name));
    }
    if screen.is_json() {
        let all: Vec<Value> = found.iter().map(as_json).collect();
        return screen.json(&json!({ "signals": all }));
    }
    let all: Vec<String> = found.iter().map(as_text).collect();
    screen.print(&all.join("\n"))
}

/// What there is to say, in order. A value is text, a number, or a list of them.
type Said = Vec<(&'static str, Value)>;

fn said(signal: &Signal) -> Said {
    match signal {
        Signal::Event(it) => of_event(it),
        Signal::Metric(it) => of_metric(it),
        Signal::Panel(it) => of_panel(it),
        Signal::Alert(it) => of_alert(it),
    }
}

fn of_event(event: &EventDecl) -> Said {
    let mut all = vec![
        ("level", event.level_name().into()),
        ("logger", event.logger.into()),
        ("fields", event.fields.into()),
    ];
    if !event.playbook_logger.is_empty() {
        all.insert(2, ("logger of playbook jobs", event.playbook_logger.into()));
    }
    if !event.error_when.is_empty() {
        all.insert(1, ("error", event.error_when.into()));
    }
    all
}

fn of_metric(family: &FamilyState) -> Said {
    let decl = family.decl;
    let kind = match decl.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
        Kind::Info => "info",
    };
    let labels = danube_signals::labels_shown(decl).into_iter();
    let labels: Vec<String> = labels
        .map(|(name, values)| format!("{name} {}", values.replace('*', "")))
        .collect();
    let exported = match decl.start {
        _ if !decl.is_closed() => "each series from its first use on",
        Start::AtZero => "from the start, at 0",
        Start::WhenSet => "once it is known",
    };
    let mut all = vec![("type", kind.into()), ("unit", decl.unit.into())];
    if !decl.buckets.is_empty() {
        all.push(("buckets", decl.buckets.into()));
    }
    all.extend([
        ("labels", labels.into()),
        ("series_max", danube_signals::series_max(decl).into()),
        ("exported", exported.into()),
        ("recorded", family.recorded.into()),
        ("panels", danube_signals::panels_that_use(decl).into()),
        ("alerts", danube_signals::alerts_that_use(decl).into()),
        ("promql", danube_signals::promql_of(decl).into()),
    ]);
    all
}

fn of_panel(panel: &Panel) -> Said {
    let queries: Vec<String> = panel
        .queries
        .iter()
        .map(danube_signals::Query::grafana)
        .collect();
    let families = panel.queries.iter().flat_map(|it| it.expr.families());
    let mut metrics: Vec<&str> = Vec::new();
    for family in families {
        if !metrics.contains(&family.name()) {
            metrics.push(family.name());
        }
    }
    vec![
        ("title", panel.title.into()),
        ("dashboard", panel.dashboard.title().into()),
        ("unit", panel.unit.as_str().into()),
        ("metrics", metrics.into()),
        ("promql", queries.into()),
    ]
}

fn of_alert(alert: &Alert) -> Said {
    let families = alert.condition.families();
    let metrics: Vec<&str> = families.iter().map(|it| it.name()).collect();
    vec![
        ("severity", alert.severity.as_str().into()),
        ("for_seconds", alert.holds_for.as_secs().into()),
        ("unit", alert.unit.as_str().into()),
        ("description", alert.description.into()),
        ("metrics", metrics.into()),
        ("promql", vec![alert.condition.promql("5m")].into()),
        ("runbook", alert.runbook().into()),
        ("page", alert.page().into()),
    ]
}

fn as_json(signal: &Signal) -> Value {
    let mut all = summary(signal);
    for (name, value) in said(signal) {
        all[name] = value;
    }
    if let Signal::Metric(it) = signal {
        let labels = it.decl.labels().iter().map(label_as_json);
        all["labels"] = labels.collect::<Vec<Value>>().into();
    }
    all
}

/// A label for programs: all its values where they are known.
fn label_as_json(label: &LabelDecl) -> Value {
    let (kind, values) = match label.values {
        LabelValues::Closed(values) => ("closed", values),
        LabelValues::Sparse => ("sparse", &[] as &[&str]),
        LabelValues::Bounded => ("bounded", &[] as &[&str]),
        LabelValues::Expiring => ("expiring", &[] as &[&str]),
    };
    json!({ "name": label.name(), "otel_key": label.key, "kind": kind, "values": values })
}

fn as_text(signal: &Signal) -> String {
    let mut out = format!("{} {}\n", signal.kind(), signal.name());
    let mut line = |name: &str, text: &str| {
        if !text.is_empty() {
            let _ = writeln!(out, "  {name:NAME_COLUMNS$}{text}");
        }
    };
    line("says", signal.about());
    match signal {
        Signal::Metric(it) => line("OpenTelemetry", it.decl.otel_name),
        Signal::Alert(it) => line("rule", &it.rule_name()),
        Signal::Event(_) | Signal::Panel(_) => {}
    }
    match signal.state() {
        State::Live => line("state", "live"),
        State::NotYet(part) => line("state", &format!("not yet: it comes with {part}")),
    }
    let mut page = String::new();
    for (name, value) in said(signal) {
        match (name, &value) {
            ("page", Value::String(text)) => page = format!("\n{text}"),
            // One a line, to be copied.
            ("promql", Value::Array(all)) => {
                for (at, one) in all.iter().enumerate() {
                    line(if at == 0 { name } else { "" }, &shown(one));
                }
            }
            ("for_seconds", value) => line("for", &format!("{} s", shown(value))),
            (_, value) => line(name, &shown(value)),
        }
    }
    out + &page
}

/// A value for people.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => {
            let all: Vec<String> = all.iter().map(shown).collect();
            all.join(", ")
        }
        Value::Number(number) => number
            .as_f64()
            .map_or_else(String::new, |it| it.to_string()),
        _ => String::new(),
    }
}
