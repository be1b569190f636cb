//! Starts what the server tells: its own log, and the metrics behind `/metrics`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use danube_master::{Exports, MaskInLog};
use danube_signals::{BuildInfo, LOG_LOGGER, Limits, OWN_LOGGERS, Signals};
use danube_telemetry::log::{self, Filter};
use danube_telemetry::otlp::Exporter;
use danube_telemetry::span::set_recorded;
use danube_telemetry::{LogGuard, LogHandle, LogOptions};

use crate::config::{Config, LogFormat};
use crate::exit::Exit;
use crate::export;
use crate::failure::Failure;
use crate::log_secrets::LogSecrets;

/// How long the end waits for a collector to take the last of everything: a stop isn't
/// held up by one that is away.
const EXPORT_AT_END: Duration = Duration::from_secs(3);

/// Telemetry of the whole process; the log ends with it.
pub(crate) struct Telemetry {
    /// What every part tells its facts to.
    pub(crate) signals: Signals,
    /// The server's log.
    pub(crate) log: LogHandle,
    /// Ends first: what it has to say still reaches the log.
    exporter: Option<Exporter>,
    secrets: LogSecrets,
    _guard: LogGuard,
}

impl Telemetry {
    /// Keeps values out of the log, and out of what is sent to a collector.
    pub(crate) fn mask(&self) -> MaskInLog {
        let secrets = self.secrets.clone();
        Arc::new(move |value| {
            // What is too short to be masked was refused when it came in.
            let _ = secrets.register(value);
        })
    }

    /// What the master sends by way of it. The data directory says who sends.
    pub(crate) fn exports(&self, data_dir: &Path) -> Exports {
        Exports {
            job_logs: self.exporter.as_ref().and_then(Exporter::records),
            spans: self.exporter.as_ref().and_then(Exporter::spans),
            lost: self.exporter.as_ref().map(Exporter::lost),
            resource: export::resource(data_dir),
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(exporter) = self.exporter.take() {
            exporter.finish(EXPORT_AT_END);
        }
    }
}

/// Starts it for the whole process.
pub(crate) fn start(config: &Config) -> Result<Telemetry, Failure> {
    let failed = |doing: &str, why: String| {
        Failure::new(Exit::Failed, "telemetry", format!("{doing}: {why}"))
    };
    let in_log = |why| failed("start the server log", why);
    let secrets = LogSecrets::new(config.rules.clone());
    for secret in &config.secrets {
        // What is too short to be masked is no secret, and its mask would shred the log.
        let _ = secrets.register(secret.as_bytes());
    }
    let commit = option_env!("DANUBE_COMMIT").unwrap_or("unknown");
    let signals = Signals::new(
        BuildInfo {
            version: env!("CARGO_PKG_VERSION"),
            commit,
        },
        Limits::default(),
    );
    let exporter = export::start(config, &signals, secrets.redact())
        .map_err(|error| failed("start the export to the collector", error.to_string()))?;
    let options = LogOptions {
        filter: Filter::parse(&config.log_level).map_err(|error| in_log(error.to_string()))?,
        format: match config.log_format {
            LogFormat::Auto => None,
            LogFormat::Json => Some(danube_telemetry::LogFormat::Json),
            LogFormat::Text => Some(danube_telemetry::LogFormat::Text),
        },
        redact: Some(secrets.redact()),
        suspects: Some(secrets.suspects()),
        spans: exporter.as_ref().and_then(Exporter::span_layer),
        tap: exporter.as_ref().and_then(Exporter::line_tap),
        ..LogOptions::new(OWN_LOGGERS, LOG_LOGGER)
    };
    set_recorded(options.spans.is_some());
    let (handle, guard) = log::init(options).map_err(|error| in_log(error.to_string()))?;
    signals.watch_lost(&handle, exporter.as_ref().map(Exporter::lost));
    Ok(Telemetry {
        signals,
        log: handle,
        exporter,
        secrets,
        _guard: guard,
    })
}
