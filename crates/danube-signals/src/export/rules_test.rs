//! The tests of the rules, for `promtool test rules`: each alert fires on its fault, and is
//! silent a little on the good side of its threshold, without traffic, and where
//! nothing is scraped.

use std::fmt::Write as _;

use danube_telemetry::LabelEnum as _;
use danube_telemetry::query::{CompareOp, Expr};

use super::ExportOptions;
use super::text::{head, quoted};
use super::witness::{MINUTE, Series, Witness, idle, little, rounded, witness};
use crate::alerts::Alert;
use crate::panels::Unit;

/// Time before an alert is looked at, in seconds, beyond what its window and its `for` need.
const LEAD: f64 = 300.0;

/// How far beyond the threshold a fault is, and how far before it health is: near, so that
/// a threshold that is off by as much is found.
const FAULT_FACTOR: f64 = 1.5;
const HEALTH_FACTOR: f64 = 0.9;

/// Some series, and what is expected at which time, in seconds.
struct Case {
    name: String,
    series: Vec<Series>,
    expected: Vec<(f64, Option<Fires>)>,
}

/// The alert as Prometheus shows it.
struct Fires {
    labels: Vec<(&'static str, String)>,
    value: f64,
}

pub(super) fn file(options: &ExportOptions) -> String {
    let mut out = head(&[
        "Tests of rules.yml: `promtool test rules rules_test.yml`.",
        "",
        "Samples are a minute apart; `0+75x40` is 0, then 75 more at each.",
    ]);
    out.push_str("rule_files:\n  - rules.yml\n\nevaluation_interval: 1m\n\ntests:\n");
    let alerts = options.alerts();
    for alert in &alerts {
        for case in cases(alert) {
            write_case(alert, &case, options, &mut out);
        }
    }
    nothing_is_scraped(&alerts, &mut out);
    out
}

/// The tests of one alert, of each condition that makes it fire by itself.
fn cases(alert: &Alert) -> Vec<Case> {
    let conditions = conditions(&alert.condition);
    let is_one = conditions.len() == 1;
    let named = |condition| {
        let of = if is_one {
            String::new()
        } else {
            asked_of(condition)
        };
        cases_of(alert, condition, &format!("{}{of}", alert.name))
    };
    conditions.into_iter().flat_map(named).collect()
}

/// The values by which one condition of several asks.
fn asked_of(condition: &Expr) -> String {
    let mut out = String::new();
    condition.selectors(&mut |it| {
        for matcher in &it.matchers {
            let _ = write!(out, " ({})", matcher.value);
        }
    });
    out
}

/// What makes it fire. That `up` is missing is shown by the test without any series.
fn conditions(whole: &Expr) -> Vec<&Expr> {
    match whole {
        Expr::Or { left, right } => [conditions(left), conditions(right)].concat(),
        Expr::Absent(_) => Vec::new(),
        one => vec![one],
    }
}

/// The tests of one condition. Empty for one of a shape that no alert has had yet, which a
/// test of this crate doesn't let pass.
fn cases_of(alert: &Alert, condition: &Expr, of: &str) -> Vec<Case> {
    let holds_for = alert.holds_for.as_secs_f64();
    let at = LEAD
        + holds_for
        + alert
            .condition
            .reach(std::time::Duration::ZERO)
            .as_secs_f64();
    let Expr::Compare { op, left, right } = condition else {
        return Vec::new();
    };
    let Expr::Number(threshold) = **right else {
        return Vec::new();
    };
    let (bad, good) = sides(*op, threshold, alert.unit);
    let (Some(fault), Some(health)) = (witness(left, bad, at), witness(left, good, at)) else {
        return Vec::new();
    };
    let silent = |name: &str, series: Vec<Series>| Case {
        name: format!("{of} {name}"),
        series,
        expected: vec![(at, None)],
    };
    let mut all = vec![silent("is silent on health", health.series)];
    if let Some(idle) = idle(&fault) {
        all.push(silent("is silent without traffic", idle));
    }
    if let Some(little) = little(left, &fault, HEALTH_FACTOR) {
        all.push(silent("is silent with little traffic", little));
    }
    let Witness {
        series,
        value,
        labels,
    } = fault;
    let mut expected = vec![(at, Some(Fires { labels, value }))];
    if holds_for >= MINUTE {
        expected.insert(0, (holds_for - MINUTE, None));
    }
    all.push(Case {
        name: format!("{of} fires on its fault"),
        series,
        expected,
    });
    all
}

/// A value on the bad side of the threshold and one on the good side.
fn sides(op: CompareOp, threshold: f64, unit: Unit) -> (f64, f64) {
    let is_counted = unit == Unit::Count;
    let sides = match op {
        // A threshold may lie between two numbers.
        CompareOp::Greater if is_counted => (threshold.floor() + 1.0, threshold.floor()),
        CompareOp::Greater => (threshold * FAULT_FACTOR, threshold * HEALTH_FACTOR),
        CompareOp::Less if is_counted => (threshold - 1.0, threshold),
        CompareOp::Less => (threshold / 2.0, threshold / HEALTH_FACTOR),
        // A flag or a status: 0 is bad, and 1 is good.
        CompareOp::Equal => (threshold, threshold + 1.0),
    };
    (rounded(sides.0), rounded(sides.1))
}

fn write_case(alert: &Alert, case: &Case, options: &ExportOptions, out: &mut String) {
    let Case {
        name,
        series,
        expected,
    } = case;
    let _ = writeln!(out, "  - name: {name}\n    interval: 1m\n    input_series:");
    let last = expected
        .iter()
        .fold(0.0, |last: f64, (at, _)| last.max(*at));
    let samples = (last / MINUTE).ceil();
    for series in series {
        let labels: Vec<String> = series
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={}", quoted(value)))
            .collect();
        let selector = format!("{}{{{}}}", series.name, labels.join(","));
        let (start, step) = (rounded(series.start), rounded(series.step));
        let _ = writeln!(
            out,
            "      - series: '{selector}'\n        values: '{start}+{step}x{samples}'"
        );
    }
    out.push_str("    alert_rule_test:\n");
    for (at, fires) in expected {
        let (rule, minutes) = (alert.rule_name(), at / MINUTE);
        let _ = writeln!(
            out,
            "      - alertname: {rule}\n        eval_time: {minutes}m"
        );
        let Some(fires) = fires else {
            out.push_str("        exp_alerts: []\n");
            continue;
        };
        out.push_str("        exp_alerts:\n");
        let value = alert.unit.shown(fires.value);
        let annotations = alert.annotations(&value, options.runbook_url(alert));
        write_fired(alert, &fires.labels, &annotations, out);
    }
}

fn write_fired(
    alert: &Alert,
    labels: &[(&str, String)],
    annotations: &[(&str, String)],
    out: &mut String,
) {
    let _ = writeln!(
        out,
        "          - exp_labels:\n              severity: {}",
        alert.severity.as_str()
    );
    for (name, value) in labels {
        let _ = writeln!(out, "              {name}: {}", quoted(value));
    }
    out.push_str("            exp_annotations:\n");
    for (name, text) in annotations {
        let _ = writeln!(out, "              {name}: {}", quoted(text));
    }
}

/// Without any series only the alert on the master itself fires, as nothing else can know.
fn nothing_is_scraped(alerts: &[Alert], out: &mut String) {
    out.push_str(
        "  - name: where nothing is scraped only the alert on the master itself fires\n    \
         interval: 1m\n    input_series: []\n    promql_expr_test:\n      \
         - expr: count by (alertname) (ALERTS{alertstate=\"firing\"})\n        \
         eval_time: 2h\n        exp_samples:\n",
    );
    let at_absence = alerts.iter().filter(
        |it| matches!(&it.condition, Expr::Or { right, .. } if matches!(**right, Expr::Absent(_))),
    );
    for alert in at_absence {
        let _ = writeln!(
            out,
            "          - labels: '{{alertname=\"{}\"}}'\n            value: 1",
            alert.rule_name()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::{Expected, alerts};

    #[test]
    fn every_alert_is_tested_on_both_sides_of_its_threshold() {
        for alert in alerts(Expected::default()) {
            let cases = cases(&alert);
            let conditions = conditions(&alert.condition).len();
            assert!(conditions >= 1, "{}", alert.name);
            let all = cases.iter().flat_map(|it| &it.expected);
            let firing = all.filter(|(_, fires)| fires.is_some()).count();
            assert_eq!(firing, conditions, "{}", alert.name);
            let silent = cases.iter().filter(|it| it.name.ends_with("on health"));
            assert_eq!(silent.count(), conditions, "{}", alert.name);
        }
    }

    #[test]
    fn a_share_that_needs_some_traffic_is_tested_with_less() {
        let of = |name: &str| {
            let all = alerts(Expected::default()).into_iter();
            let cases: Vec<Case> = all
                .filter(|it| it.name == name)
                .flat_map(|it| cases(&it))
                .collect();
            cases
                .iter()
                .any(|it| it.name.ends_with("with little traffic"))
        };
        assert!(of("job_failures"));
        assert!(!of("job_timeouts"));
    }

    #[test]
    fn every_alert_on_what_is_counted_is_tested_without_traffic() {
        for alert in alerts(Expected::default()) {
            let counts = alert.condition.promql("5m").contains('[');
            let idle = cases(&alert)
                .iter()
                .any(|it| it.name.ends_with("without traffic"));
            assert_eq!(counts, idle, "{}", alert.name);
        }
    }
}
