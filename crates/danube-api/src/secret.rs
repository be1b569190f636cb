//! Secrets of pipelines on the wire: values go in, names come back.

use std::fmt;

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Sets a secret. `Debug` doesn't show the value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// Its value: at least 8 characters, and not so common that masking it would shred a log.
    pub value: String,
}

impl fmt::Debug for NewSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("NewSecret").finish_non_exhaustive()
    }
}

/// What is known of a secret. Its value never comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// The pipeline that it is for; null for every pipeline that names it.
    pub pipeline: Option<String>,
    /// Grows each time it is set.
    pub version: i64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The name of the API key that made it.
    pub created_by: String,
    /// When it was last set.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// The name of the API key that set it last.
    pub updated_by: String,
    /// When a job first asked for it that is the latest to do so.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

/// Every secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretList {
    /// By name; one of all pipelines before those of single ones.
    pub secrets: Vec<SecretView>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_not_in_the_debug_text() {
        let new = NewSecret {
            value: "hidden-value".to_owned(),
        };
        assert!(!format!("{new:?}").contains("hidden"));
    }
}
