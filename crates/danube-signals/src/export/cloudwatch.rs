//! For CloudWatch: the agent's configuration, and a metric of each event that may need a
//! look.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use danube_telemetry::metric::Kind;
use danube_telemetry::query::{TARGET, TARGET_LABEL, UP};
use serde_json::json;
use tracing::Level;

use super::ExportFile;
use super::text::{description, head, json as written, quoted, waits_for};
use crate::alerts::{Expected, alerts};
use crate::declared::{EventDecl, State, events, families};
use crate::panels::panels;

const LOG_GROUP: &str = "/danube/master";

/// Days that CloudWatch keeps the server log; it is paid for by the day.
const RETENTION_DAYS: u32 = 30;

pub(super) fn files() -> Vec<ExportFile> {
    vec![
        ExportFile::new("deploy/cloudwatch/agent.json", agent()),
        ExportFile::new("deploy/cloudwatch/metric-filters.yml", metric_filters()),
    ]
}

fn agent() -> String {
    let about = "Configuration of the CloudWatch agent: sends the server log, and what panels and alerts use of /metrics. \
        The log has to be in a file (a unit with StandardOutput=append:/var/log/danube/server.log). \
        prometheus_config_path is deploy/prometheus/scrape.yml without rule_files and alerting.";
    let declarations: Vec<serde_json::Value> = by_labels()
        .into_iter()
        .map(|(labels, names)| {
            json!({
                "source_labels": [TARGET_LABEL],
                "label_matcher": format!("^{TARGET}$"),
                "dimensions": [labels],
                "metric_selectors": names.iter().map(|it| format!("^{it}$")).collect::<Vec<_>>(),
            })
        })
        .collect();
    written(&json!({
        "description": description(about),
        "logs": {
            "logs_collected": { "files": { "collect_list": [{
                "file_path": "/var/log/danube/server.log",
                "log_group_name": LOG_GROUP,
                "log_stream_name": "{hostname}",
                "timestamp_format": "%Y-%m-%dT%H:%M:%S.%f",
                "timezone": "UTC",
                "retention_in_days": RETENTION_DAYS,
            }]}},
            "metrics_collected": { "prometheus": {
                "log_group_name": "/danube/metrics",
                "prometheus_config_path": "/etc/danube/cloudwatch-scrape.yml",
                "emf_processor": {
                    "metric_namespace": "Danube",
                    "metric_declaration": declarations,
                },
            }},
        },
    }))
}

/// The live families that panels and alerts use, by their labels. Histograms aren't
/// among them: CloudWatch's metrics have no buckets.
fn by_labels() -> BTreeMap<Vec<&'static str>, Vec<&'static str>> {
    let of_panels = panels().iter().flat_map(|it| &it.queries);
    let mut used: Vec<_> = of_panels.flat_map(|it| it.expr.families()).collect();
    for alert in alerts(Expected::default()) {
        used.extend(alert.condition.families());
    }
    let mut found: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
    for family in families().filter(|it| it.state == State::Live) {
        let decl = family.decl;
        let is_used = used
            .iter()
            .any(|it| it.name() == decl.name() && it.name() != UP.name());
        if !is_used || decl.kind == Kind::Histogram {
            continue;
        }
        let labels = decl.labels().iter().map(|it| it.name());
        let labels: Vec<&'static str> = std::iter::once(TARGET_LABEL).chain(labels).collect();
        found.entry(labels).or_default().push(decl.name());
    }
    found
}

fn metric_filters() -> String {
    let mut out = head(&[
        "A log group, and a metric for each event that is a warning or an error, to make",
        "alarms of: `aws cloudformation deploy --template-file metric-filters.yml",
        "--stack-name danube-events`.",
    ]);
    let _ = write!(
        out,
        "AWSTemplateFormatVersion: \"2010-09-09\"\n\
         Description: Danube's server log and its events that may need a look\n\n\
         Resources:\n  \
         LogGroup:\n    Type: AWS::Logs::LogGroup\n    Properties:\n      \
         LogGroupName: {LOG_GROUP}\n      RetentionInDays: {RETENTION_DAYS}\n"
    );
    for event in events().filter(|it| it.level <= Level::WARN || !it.error_when.is_empty()) {
        filter(event, &mut out);
    }
    out
}

fn filter(event: &EventDecl, out: &mut String) {
    let mut resource = String::new();
    for word in event.name.split('_') {
        let mut letters = word.chars();
        resource.extend(letters.next().map(|it| it.to_ascii_uppercase()));
        resource.push_str(letters.as_str());
    }
    let pattern = quoted(&format!("{{ $.event = \"{}\" }}", event.name));
    out.push('\n');
    if let Some(part) = waits_for(event.state) {
        let _ = writeln!(out, "  # Not yet told: it comes with {part}.");
    }
    let _ = write!(
        out,
        "  {resource}:\n    Type: AWS::Logs::MetricFilter\n    Properties:\n      \
         LogGroupName:\n        Ref: LogGroup\n      FilterPattern: {pattern}\n      \
         MetricTransformations:\n        - MetricName: {}\n          \
         MetricNamespace: Danube/Events\n          MetricValue: \"1\"\n          \
         DefaultValue: 0\n",
        event.name
    );
}
