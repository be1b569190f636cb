//! For Prometheus: what to scrape, when to alert, and the tests of the alerts.

use std::fmt::Write as _;

use danube_telemetry::LabelEnum as _;
use danube_telemetry::query::TARGET;

use super::text::{head, quoted, waits_for};
use super::{ExportFile, ExportOptions, rules_test};
use crate::alerts::{Alert, Severity};

/// Seconds between two scrapes. The windows of all questions hold several.
pub(super) const SCRAPE_SECONDS: u32 = 15;

pub(super) fn files(options: &ExportOptions) -> Vec<ExportFile> {
    vec![
        ExportFile::new("deploy/prometheus/scrape.yml", scrape()),
        ExportFile::new("deploy/prometheus/rules.yml", rules(options)),
        ExportFile::new(
            "deploy/prometheus/rules_test.yml",
            rules_test::file(options),
        ),
    ]
}

fn scrape() -> String {
    let mut out = head(&[
        "A whole configuration: `prometheus --config.file=scrape.yml`. Where there is one",
        "already, take `scrape_configs` and the two lists before it.",
        "",
        "Scrape `/metrics` or push over OTLP (`observability.otel_endpoint`), not both into",
        "one Prometheus: each series would be there twice, under two names.",
        "",
        "One master a Prometheus: the rules and dashboards add up what they find. For two masters,",
        "run a Prometheus each, and give each a label of its own, which its Alertmanager sees:",
        "  global:",
        "    external_labels: {master: one}",
        "",
        "`--enable-feature=exemplar-storage` keeps the exemplars, which lead from a slow",
        "request or job to its trace.",
    ]);
    let _ = write!(
        out,
        r#"global:
  scrape_interval: {SCRAPE_SECONDS}s
  evaluation_interval: {SCRAPE_SECONDS}s

rule_files:
  - rules.yml

alerting:
  alertmanagers:
    - static_configs:
        - targets: ["localhost:9093"]

scrape_configs:
  # The rules and dashboards look for this name in the label `job`.
  - job_name: {TARGET}
    metrics_path: /metrics
    scrape_interval: {SCRAPE_SECONDS}s
    # A key is needed where the server listens on a public address:
    #   danube apikey create --role viewer prometheus
    # The file beside this one holds the key and nothing else, mode 0600.
    authorization:
      type: Bearer
      credentials_file: danube.key
    static_configs:
      - targets: ["localhost:8080"]
"#
    );
    out
}

fn rules(options: &ExportOptions) -> String {
    let mut out = head(&[
        "The alerts. `promtool check rules rules.yml` reads them, `promtool test rules",
        "rules_test.yml` shows that each fires on its fault and on nothing else.",
        "",
        "An alert that waits for a part of Danube is here too. Until then its series are",
        "absent or stay at 0, so it is silent; the tests show that as well.",
        "",
        "They are for one master a Prometheus: sums go over everything in the job `danube`, and",
        "where one master of two is down, its sums are the other's. See scrape.yml for two.",
    ]);
    out.push_str("groups:\n");
    let all = options.alerts();
    for severity in [Severity::Critical, Severity::Warning] {
        let _ = write!(
            out,
            "  - name: {TARGET}-{}\n    rules:\n",
            severity.as_str()
        );
        for alert in all.iter().filter(|it| it.severity == severity) {
            rule(alert, options, &mut out);
        }
    }
    out
}

fn rule(alert: &Alert, options: &ExportOptions, out: &mut String) {
    if let Some(part) = waits_for(alert.state()) {
        let _ = writeln!(out, "      # Not yet: its metrics come with {part}.");
    }
    let _ = writeln!(out, "      - alert: {}", alert.rule_name());
    let _ = writeln!(out, "        expr: {}", quoted(&promql(alert)));
    let _ = writeln!(out, "        for: {}s", alert.holds_for.as_secs());
    let _ = writeln!(
        out,
        "        labels:\n          severity: {}\n        annotations:",
        alert.severity.as_str()
    );
    for (name, text) in alert.annotations(alert.unit.template(), options.runbook_url(alert)) {
        let _ = writeln!(out, "          {name}: {}", quoted(&text));
    }
}

/// The condition as it stands in the rule: no alert uses a panel's window.
pub(super) fn promql(alert: &Alert) -> String {
    alert.condition.promql("5m")
}
