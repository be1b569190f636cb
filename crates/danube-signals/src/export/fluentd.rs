//! For Fluentd: reads the server's JSON lines and sends them on.

use super::ExportFile;
use super::text::head;

pub(super) fn file() -> ExportFile {
    let mut out = head(&[
        "Reads the server log of the master's pods and sends it to Elasticsearch. It needs the",
        "plugins fluent-plugin-elasticsearch and fluent-plugin-parser-cri.",
        "",
        "Each line is one JSON object; `docs/signals.md` lists the fields of every event.",
        "Values are masked before they are written, so nothing has to be filtered here.",
    ]);
    out.push_str(CONF);
    ExportFile::new("deploy/fluentd/fluent.conf", out)
}

const CONF: &str = r#"# What the container runtime writes: one line of the pod's output with a prefix.
<source>
  @type tail
  path /var/log/containers/danube-master-*_danube-system_*.log
  pos_file /var/log/fluentd/danube.pos
  tag danube-system.master
  read_from_head true
  <parse>
    @type cri
  </parse>
</source>

# Our line within it. The time is the event's own.
<filter danube-system.master>
  @type parser
  key_name message
  reserve_data false
  emit_invalid_record_to_error true
  <parse>
    @type json
    time_key timestamp
    time_type string
    time_format %iso8601
    keep_time_key true
  </parse>
</filter>

<match danube-system.master>
  @type elasticsearch
  host elasticsearch.logging.svc
  port 9200
  logstash_format true
  logstash_prefix danube
  include_timestamp true
  <buffer>
    @type file
    path /var/log/fluentd/danube.buffer
    flush_interval 5s
    # A store that is away for long must not fill the node's disk.
    total_limit_size 1g
    overflow_action drop_oldest_chunk
    retry_forever true
    retry_max_interval 60s
  </buffer>
</match>
"#;
