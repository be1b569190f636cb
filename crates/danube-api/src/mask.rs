//! A value to mask that is learned while a job runs, or after it.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of `POST …/mask`. `Debug` doesn't show the value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(examples(json!({"value": "correct horse battery"})))]
pub struct MaskValue {
    /// The value to keep out of the job's log, and to blank where it stands in it.
    pub value: String,
    /// Take a value of 6 or 7 characters too, although it will hide other text.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schema(value_type = Option<bool>)]
    pub allow_short: bool,
}

impl fmt::Debug for MaskValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("MaskValue")
            .field("allow_short", &self.allow_short)
            .finish_non_exhaustive()
    }
}

/// What was done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Masked {
    /// Stored lines that held the value and are blank now.
    pub lines_blanked: u64,
    /// The bytes of these lines.
    pub bytes_blanked: u64,
    /// What the caller should know; absent when there is nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_not_in_the_debug_text() {
        let asked = MaskValue {
            value: "hidden-value".to_owned(),
            allow_short: false,
        };
        assert!(!format!("{asked:?}").contains("hidden"));
    }
}
