//! For Loki: how Promtail reads the server's JSON lines, and a Loki that takes them.

use danube_telemetry::query::TARGET;

use super::ExportFile;
use super::text::head;
use crate::LOG_LOGGER;

pub(super) fn files() -> Vec<ExportFile> {
    vec![
        ExportFile::new("deploy/loki/promtail.yml", promtail()),
        ExportFile::new("deploy/loki/loki.yml", loki()),
    ]
}

/// What every line may carry and is worth searching for, beside the labels: too many values
/// for a label, so they are kept beside the line.
const METADATA: &[&str] = &["trace_id", "span_id", "request_id", "job_id", "pipeline"];

/// Few values each: these become labels.
const LABELS: &[&str] = &["level", "logger", "event"];

fn promtail() -> String {
    let mut out = head(&[
        "Reads the server log, from the journal and from the master's pods, and sends it to",
        "Loki. Delete the part that you don't need.",
        "",
        "Promtail is no longer developed. `alloy convert --source-format=promtail",
        "--output=config.alloy promtail.yml` makes a configuration of Alloy from this.",
        "",
        "Without either: with `observability.otel_endpoint` the server pushes its log over",
        "OTLP to a collector, which hands it to Loki at `http://loki:3100/otlp`. Take one",
        "way, not both.",
    ]);
    out.push_str(
        "server:\n  http_listen_port: 9080\n  grpc_listen_port: 0\n\n\
         positions:\n  filename: /var/lib/promtail/positions.yml\n\n\
         clients:\n  - url: http://loki:3100/loki/api/v1/push\n\n\
         scrape_configs:\n",
    );
    out.push_str(&format!(
        "  # `danube master` as a systemd unit.\n  \
         - job_name: danube-journal\n    journal:\n      max_age: 12h\n      \
         matches: _SYSTEMD_UNIT=danube.service\n      labels:\n        job: {TARGET}\n    \
         pipeline_stages:\n{}\n",
        stages()
    ));
    out.push_str(&format!(
        "  # The master's pods.\n  \
         - job_name: danube-pods\n    kubernetes_sd_configs:\n      - role: pod\n        \
         namespaces:\n          names: [danube-system]\n    relabel_configs:\n      \
         - source_labels: [__meta_kubernetes_pod_label_app]\n        regex: danube-master\n        \
         action: keep\n      - target_label: job\n        replacement: {TARGET}\n      \
         - source_labels: [__meta_kubernetes_pod_name]\n        target_label: pod\n      \
         - source_labels: [__meta_kubernetes_pod_uid, __meta_kubernetes_pod_container_name]\n        \
         separator: /\n        target_label: __path__\n        \
         replacement: /var/log/pods/*$1/*.log\n    \
         pipeline_stages:\n      - cri: {{}}\n{}",
        stages()
    ));
    out
}

/// What both ways of reading do with a line.
fn stages() -> String {
    let fields = |names: &[&str]| -> String {
        names
            .iter()
            .map(|name| format!("            {name}: {name}\n"))
            .collect()
    };
    let bare = |names: &[&str]| -> String {
        names
            .iter()
            .map(|name| format!("          {name}:\n"))
            .collect()
    };
    let all: Vec<&str> = ["timestamp"]
        .iter()
        .chain(LABELS)
        .chain(METADATA)
        .copied()
        .collect();
    format!(
        "      # Lines that aren't JSON, such as a panic, pass as they are.\n      \
         - json:\n          expressions:\n{}      \
         - timestamp:\n          source: timestamp\n          format: RFC3339Nano\n      \
         # Few values each.\n      \
         - labels:\n{}      \
         # Many values: kept beside the line, for which Loki needs a schema of v13.\n      \
         - structured_metadata:\n{}",
        fields(&all),
        bare(LABELS),
        bare(METADATA)
    )
}

fn loki() -> String {
    let mut out = head(&[
        "A Loki on one machine that takes what promtail.yml sends, and OTLP.",
        "",
        "Some questions to begin with:",
        "  {job=\"danube\", level=~\"error|warning\"}",
        "  {job=\"danube\", event=\"job_failed\"} | json",
        "  {job=\"danube\"} | job_id = \"JOB\"",
        &format!("  {{job=\"danube\", logger=\"{LOG_LOGGER}\"}}   what was lost on the way"),
    ]);
    out.push_str(LOKI);
    out
}

const LOKI: &str = "\
auth_enabled: false

server:
  http_listen_port: 3100

common:
  path_prefix: /var/lib/loki
  replication_factor: 1
  ring:
    kvstore:
      store: inmemory
  storage:
    filesystem:
      chunks_directory: /var/lib/loki/chunks
      rules_directory: /var/lib/loki/rules

schema_config:
  configs:
    - from: 2024-04-01
      store: tsdb
      object_store: filesystem
      schema: v13
      index:
        prefix: index_
        period: 24h

limits_config:
  allow_structured_metadata: true
  retention_period: 720h

compactor:
  working_directory: /var/lib/loki/compactor
  retention_enabled: true
  delete_request_store: filesystem
";
