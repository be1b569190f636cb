//! What `danube login` and the server say to each other.

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};

/// What makes a key of a code: only who began knows the verifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginProof {
    /// The code that the browser brought.
    pub code: String,
    /// The text behind the challenge.
    pub verifier: String,
}

/// A key that acts for a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginKey {
    /// The key itself.
    pub key: String,
    /// The user.
    pub user: String,
    /// When it is good no more.
    pub expires_at: Timestamp,
}

/// Whose key was ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginEnded {
    /// The user.
    pub user: String,
}
