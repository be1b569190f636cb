//! The level of the server's own log on the wire.

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks for another level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"level": "info,danube.store=debug", "for_seconds": 600})))]
pub struct NewLogLevel {
    /// `off`, `error`, `warning`, `info`, `debug` or `trace`, also by logger:
    /// `info,danube.store=debug`.
    pub level: String,
    /// After so many seconds the configured level comes back; without, the level holds
    /// until it is changed again. At most 86,400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86400)]
    pub for_seconds: Option<u64>,
}

/// The level as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLevelView {
    /// Which events are written now.
    pub level: String,
    /// What the settings say.
    pub configured: String,
    /// When the configured level comes back, if it does by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}
