//! Starts what the server tells: its own log, and the metrics behind `/metrics`.

use danube_redact::Rules;
use danube_signals::{BuildInfo, LOG_LOGGER, Limits, OWN_LOGGERS, Signals};
use danube_telemetry::log::{self, Filter};
use danube_telemetry::{LogGuard, LogHandle, LogOptions};

use crate::config::LogFormat;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::log_secrets::LogSecrets;

/// Telemetry of the whole process; the log ends with it.
pub(crate) struct Telemetry {
    /// What every part tells its facts to.
    pub(crate) signals: Signals,
    /// The server's log.
    pub(crate) log: LogHandle,
    _guard: LogGuard,
}

/// Starts it for the whole process, with these rules for what its log doesn't
/// show. `level` has been checked.
pub(crate) fn start(level: &str, format: LogFormat, rules: Rules) -> Result<Telemetry, Failure> {
    let failed = |why: String| {
        Failure::new(
            Exit::Failed,
            "telemetry",
            format!("start the server log: {why}"),
        )
    };
    let secrets = LogSecrets::new(rules);
    let options = LogOptions {
        filter: Filter::parse(level).map_err(|error| failed(error.to_string()))?,
        format: match format {
            LogFormat::Auto => None,
            LogFormat::Json => Some(danube_telemetry::LogFormat::Json),
            LogFormat::Text => Some(danube_telemetry::LogFormat::Text),
        },
        redact: Some(secrets.redact()),
        suspects: Some(secrets.suspects()),
        ..LogOptions::new(OWN_LOGGERS, LOG_LOGGER)
    };
    let (handle, guard) = log::init(options).map_err(|error| failed(error.to_string()))?;
    let commit = option_env!("DANUBE_COMMIT").unwrap_or("unknown");
    let signals = Signals::new(
        BuildInfo {
            version: env!("CARGO_PKG_VERSION"),
            commit,
        },
        Limits::default(),
    );
    signals.watch_log(&handle);
    Ok(Telemetry {
        signals,
        log: handle,
        _guard: guard,
    })
}
