//! For Alertmanager: critical alerts to PagerDuty, warnings to Slack, all to e-mail.

use danube_telemetry::LabelEnum as _;

use super::ExportFile;
use super::text::head;
use crate::alerts::{Expected, Severity, alerts};

pub(super) fn file() -> ExportFile {
    let mut out = head(&[
        "Where alerts go: `critical` to PagerDuty, `warning` to Slack, all to e-mail.",
        "`amtool check-config alertmanager.yml` reads it.",
        "",
        "Put your own addresses in place of those of example.org, and the keys into the files",
        "that are named here, mode 0600, each with the key and nothing else.",
        "",
        "Where alerts of several masters arrive, each Prometheus needs an external label of its own",
        "(`master` in scrape.yml). Put that label into `group_by` and into `equal` of the rule below,",
        "or one master that is down silences the alerts of all.",
    ]);
    let down = alerts(Expected::default()).remove(0).rule_name();
    let (critical, warning) = (Severity::Critical.as_str(), Severity::Warning.as_str());
    out.push_str(
        &TEMPLATE
            .replace("DOWN", &down)
            .replace("CRITICAL", critical)
            .replace("WARNING", warning),
    );
    ExportFile::new("deploy/alertmanager/alertmanager.yml", out)
}

const TEMPLATE: &str = r#"global:
  resolve_timeout: 5m
  smtp_smarthost: smtp.example.org:587
  smtp_from: danube@example.org
  smtp_auth_username: danube@example.org
  smtp_auth_password_file: /etc/alertmanager/smtp.password

route:
  receiver: email
  group_by: [alertname]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
  routes:
    - receiver: pagerduty
      matchers: ['severity="CRITICAL"']
      repeat_interval: 1h
      continue: true
    - receiver: slack
      matchers: ['severity="WARNING"']
      continue: true
    # Reached by all of them, because the two above go on.
    - receiver: email

inhibit_rules:
  # Where the master is down, what else is wrong with it is known.
  - source_matchers: ['alertname="DOWN"']
    target_matchers: ['alertname=~"Danube.+"', 'alertname!="DOWN"']
    # With several masters: equal: [master]

receivers:
  - name: pagerduty
    pagerduty_configs:
      - routing_key_file: /etc/alertmanager/pagerduty.key
        severity: CRITICAL
        description: '{{ .CommonAnnotations.summary }}'
        details:
          description: '{{ .CommonAnnotations.description }}'
          runbook: '{{ .CommonAnnotations.runbook_url }}'
  - name: slack
    slack_configs:
      - api_url_file: /etc/alertmanager/slack.url
        channel: '#danube'
        send_resolved: true
        title: '{{ .CommonAnnotations.summary }}'
        text: '{{ range .Alerts }}{{ .Annotations.description }} {{ .Annotations.runbook_url }}{{ "\n" }}{{ end }}'
  - name: email
    email_configs:
      - to: operators@example.org
        send_resolved: true
"#;
