//! For Grafana: the dashboards, and what provisions them.

use danube_telemetry::query::{CompareOp, Expr, Matcher, Part, Selector};
use serde_json::{Value, json};

use super::prometheus::SCRAPE_SECONDS;
use super::text::{description, head, json as written, waits_for};
use super::{ExportFile, ExportOptions};
use crate::alerts::{Alert, Severity};
use crate::panels::{Dashboard, Panel, Query, Unit, panels};

/// Version of the dashboards' format; Grafana brings older ones up to its own.
const SCHEMA_VERSION: u32 = 39;

/// Grafana's grid.
const GRID_COLUMNS: usize = 24;

/// Two panels side by side: wide enough for a day, and four on a screen.
const PANEL_COLUMNS: usize = 12;
const PANEL_ROWS: usize = 8;

/// The data source that a dashboard asks; chosen at its top.
const DATASOURCE: &str = "${datasource}";

pub(super) fn files(options: &ExportOptions) -> Vec<ExportFile> {
    let alerts = options.alerts();
    let mut files: Vec<ExportFile> = Dashboard::ALL
        .iter()
        .map(|it| {
            let path = format!("deploy/grafana/dashboards/{}.json", it.as_str());
            ExportFile::new(path, written(&dashboard(*it, &alerts)))
        })
        .collect();
    files.push(ExportFile::new(
        "deploy/grafana/provisioning/dashboards/danube.yml",
        provider(),
    ));
    files.push(ExportFile::new(
        "deploy/grafana/provisioning/datasources/danube.yml",
        datasources(),
    ));
    files
}

fn dashboard(of: Dashboard, alerts: &[Alert]) -> Value {
    let shown: Vec<&Panel> = panels().iter().filter(|it| it.dashboard == of).collect();
    let last = shown.len().saturating_sub(1);
    let panels: Vec<Value> = shown
        .iter()
        .enumerate()
        // The last of an odd number takes the whole row.
        .map(|(at, it)| panel(at, at == last && at % 2 == 0, it, alerts))
        .collect();
    json!({
        "uid": format!("danube-{}", of.as_str().replace('_', "-")),
        "title": format!("Danube: {}", of.title()),
        "description": description(about(of)),
        "tags": ["danube"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": { "from": "now-6h", "to": "now" },
        "timezone": "browser",
        "links": [{
            "type": "dashboards",
            "tags": ["danube"],
            "title": "Danube",
            "asDropdown": true,
            "includeVars": true,
            "keepTime": true,
        }],
        "templating": { "list": [{
            "type": "datasource",
            "name": "datasource",
            "label": "Data source",
            "query": "prometheus",
            "refresh": 1,
        }]},
        "annotations": { "list": [firing()] },
        "panels": panels,
    })
}

const fn about(of: Dashboard) -> &'static str {
    match of {
        Dashboard::JobOverview => {
            "How many jobs there are, how well they go and how long they take."
        }
        Dashboard::Performance => "How fast the parts of Danube are.",
        Dashboard::Errors => "What goes wrong, and where.",
        Dashboard::Capacity => "What is used up: disk, memory, processors, pods.",
        Dashboard::Playbooks => "Playbook jobs and the API in front of them.",
    }
}

/// Shows in every graph when an alert fired.
fn firing() -> Value {
    json!({
        "name": "Alerts",
        "enable": true,
        "iconColor": "red",
        "datasource": { "type": "prometheus", "uid": DATASOURCE },
        "expr": "ALERTS{alertname=~\"Danube.+\",alertstate=\"firing\"}",
        "titleFormat": "{{alertname}}",
        "tagKeys": "severity",
        "step": "60s",
    })
}

fn panel(at: usize, is_wide: bool, of: &Panel, alerts: &[Alert]) -> Value {
    let mut about = of.description.to_owned();
    if let Some(part) = waits_for(of.state()) {
        about.push_str(&format!(" Empty for now: some of it comes with {part}."));
    }
    let targets: Vec<Value> = of
        .queries
        .iter()
        .enumerate()
        .map(|(nth, query)| target(nth, query))
        .collect();
    let (columns, width) = (
        at % 2 * PANEL_COLUMNS,
        if is_wide { GRID_COLUMNS } else { PANEL_COLUMNS },
    );
    json!({
        "id": at + 1,
        "type": "timeseries",
        "title": of.title,
        "description": about,
        "datasource": { "type": "prometheus", "uid": DATASOURCE },
        "gridPos": { "x": columns, "y": at / 2 * PANEL_ROWS, "w": width, "h": PANEL_ROWS },
        "targets": targets,
        "fieldConfig": field_config(of, alerts),
        "options": {
            "legend": {
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": true,
                "calcs": ["mean", "max", "lastNotNull"],
            },
            "tooltip": { "mode": "multi", "sort": "desc" },
        },
    })
}

fn target(nth: usize, query: &Query) -> Value {
    let letter = char::from(b'A' + u8::try_from(nth).unwrap_or(0));
    // Only histograms carry exemplars, one for each bucket.
    let mut has_exemplars = false;
    query
        .expr
        .selectors(&mut |it| has_exemplars |= it.part == Part::Bucket);
    json!({
        "refId": letter.to_string(),
        "datasource": { "type": "prometheus", "uid": DATASOURCE },
        "editorMode": "code",
        "expr": query.grafana(),
        "legendFormat": query.legend,
        "range": true,
        "exemplar": has_exemplars,
    })
}

fn field_config(of: &Panel, alerts: &[Alert]) -> Value {
    let threshold = threshold(of, alerts);
    let mut defaults = json!({
        "unit": of.unit.grafana(),
        "min": 0,
        "color": { "mode": "palette-classic" },
        "thresholds": {
            "mode": "absolute",
            "steps": threshold.clone().unwrap_or_else(|| json!([{ "color": "green", "value": null }])),
        },
        "custom": {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 10,
            "showPoints": "never",
            "spanNulls": false,
            "thresholdsStyle": { "mode": if threshold.is_some() { "dashed" } else { "off" } },
        },
    });
    if of.unit == Unit::Ratio {
        defaults["max"] = json!(1);
    }
    if of.unit == Unit::Count {
        // Increases are extrapolated: half a job isn't news.
        defaults["decimals"] = json!(0);
    }
    json!({ "defaults": defaults, "overrides": [] })
}

/// The threshold of the alert that asks for the same as the panel, as Grafana's steps.
fn threshold(of: &Panel, alerts: &[Alert]) -> Option<Value> {
    let asked: Vec<_> = of.queries.iter().map(|it| asks_for(&it.expr)).collect();
    let alert = alerts
        .iter()
        .find(|it| it.unit == of.unit && asked.contains(&asks_for(&it.condition)))?;
    let (op, limit) = alert.condition.threshold()?;
    let bad = match alert.severity {
        Severity::Critical => "red",
        Severity::Warning => "orange",
    };
    let (below, above) = match op {
        CompareOp::Greater => ("green", bad),
        CompareOp::Less => (bad, "green"),
        CompareOp::Equal => return None,
    };
    Some(json!([
        { "color": below, "value": null },
        { "color": above, "value": limit },
    ]))
}

/// Which series are asked for, whatever is done with them.
fn asks_for(of: &Expr) -> Vec<(String, Vec<Matcher>)> {
    let mut found = Vec::new();
    of.selectors(&mut |it: &Selector| found.push((it.name(), it.matchers.clone())));
    found
}

fn provider() -> String {
    let mut out = head(&[
        "Goes to /etc/grafana/provisioning/dashboards; the files of ../../dashboards go where",
        "`path` says.",
    ]);
    out.push_str(
        "apiVersion: 1\n\nproviders:\n  - name: danube\n    folder: Danube\n    type: file\n    \
         disableDeletion: false\n    allowUiUpdates: false\n    updateIntervalSeconds: 60\n    \
         options:\n      path: /var/lib/grafana/dashboards/danube\n",
    );
    out
}

fn datasources() -> String {
    let mut out = head(&[
        "Goes to /etc/grafana/provisioning/datasources. Delete what you have already: the",
        "dashboards take any Prometheus that is chosen at their top.",
    ]);
    out.push_str(&format!(
        "apiVersion: 1\n\n\
         datasources:\n  \
         - name: Danube metrics\n    uid: danube-metrics\n    type: prometheus\n    \
         access: proxy\n    url: http://localhost:9090\n    jsonData:\n      httpMethod: POST\n      \
         # The interval of the scrapes, from which Grafana makes $__rate_interval.\n      \
         timeInterval: {SCRAPE_SECONDS}s\n      \
         # With a data source for traces, its uid makes a link of each exemplar:\n      \
         # exemplarTraceIdDestinations:\n      #   - name: trace_id\n      \
         #     datasourceUid: danube-traces\n  \
         - name: Danube log\n    uid: danube-log\n    type: loki\n    access: proxy\n    \
         url: http://localhost:3100\n    jsonData: {{}}\n"
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panel as panel_of;

    /// Names of the alerts' limits that the panel shows.
    #[track_caller]
    fn check(name: &str, limit: Option<f64>) {
        let alerts = ExportOptions::default().alerts();
        let steps = threshold(panel_of(name).unwrap(), &alerts);
        let shown = steps.map(|it| it[1]["value"].as_f64().unwrap());
        assert_eq!(shown, limit, "{name}");
    }

    #[test]
    fn a_panel_shows_the_limit_of_the_alert_that_asks_for_the_same() {
        check("disk_free", Some(0.1));
        check("playbook_queue_depth", Some(100.0));
        check("playbook_duration", Some(1_800.0));
        check("db_lock_waits", Some(0.5));
        check("api_latency", Some(5.0));
        check("job_success_rate", None);
        check("active_jobs", None);
    }

    #[test]
    fn panels_lie_side_by_side_and_don_t_overlap() {
        for dash in Dashboard::ALL {
            let json = dashboard(dash, &[]);
            let mut taken = std::collections::BTreeSet::new();
            for panel in json["panels"].as_array().unwrap() {
                let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
                for x in at("x")..at("x") + at("w") {
                    assert!(x < 24, "{}", panel["title"]);
                    assert!(taken.insert((x, at("y"))), "{}", panel["title"]);
                }
            }
        }
    }
}
