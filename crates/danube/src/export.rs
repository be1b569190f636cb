//! Starts the push to a collector, and says who sends.

use std::path::Path;

use danube_signals::Signals;
use danube_telemetry::log::Redact;
use danube_telemetry::otlp::{self, Attribute, Exporter, Options, Retry, Source, StartError};
use sha2::{Digest, Sha256};

use crate::config::{Config, Export};

/// `service.name`, by which everything of ours is found in a backend.
const SERVICE: &str = "danube";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Starts it, if there is a collector.
pub(crate) fn start(
    config: &Config,
    signals: &Signals,
    redact: Box<Redact>,
) -> Result<Option<Exporter>, StartError> {
    let Some(export) = &config.export else {
        return Ok(None);
    };
    let Export {
        endpoint,
        metrics,
        logs,
        job_logs,
        traces,
    } = export.clone();
    let teller = signals.clone();
    let options = Options {
        endpoint,
        source: Source {
            resource: resource(&config.settings.data_dir),
            scope: SERVICE,
            version: VERSION,
        },
        metrics: metrics.map(|interval| (signals.registry().clone(), interval)),
        lines: logs,
        records: job_logs,
        spans: traces,
        redact: traces.then_some(redact),
        retry: Retry::default(),
        tell: std::sync::Arc::new(move |told| teller.exporter_tells(told)),
    };
    otlp::start(options).map(Some)
}

/// Who sends.
pub(crate) fn resource(data_dir: &Path) -> Vec<Attribute> {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    vec![
        ("service.name".into(), SERVICE.into()),
        ("service.version".into(), VERSION.into()),
        (
            "service.instance.id".into(),
            instance(&host, data_dir).into(),
        ),
        ("host.name".into(), (&*host).into()),
        ("process.pid".into(), i64::from(std::process::id()).into()),
    ]
}

/// The same for the same data directory on the same host, so that a restart goes on
/// with the same series: only one master at a time has the directory. In the form of
/// a UUID (version 8, made from a hash), since that is what backends expect.
fn instance(host: &str, data_dir: &Path) -> String {
    let mut hash = Sha256::new();
    hash.update(host.as_bytes());
    hash.update([0]);
    hash.update(data_dir.as_os_str().as_encoded_bytes());
    let digest = hash.finalize();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|it| format!("{it:02x}")).collect();
    let [a, b, c, d, e] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|it| &hex[it]);
    format!("{a}-{b}-{c}-{d}-{e}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_its_host_and_its_directory() {
        let one = instance("a", Path::new("/var/lib/danube"));
        assert_eq!(one, instance("a", Path::new("/var/lib/danube")));
        assert_ne!(one, instance("b", Path::new("/var/lib/danube")));
        assert_ne!(one, instance("a", Path::new("/srv/danube")));
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'8');
    }
}
