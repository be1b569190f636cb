//! What lies in the registry, on the wire.

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The registry as it was seen last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegistryView {
    /// Where it is; null where no registry is configured.
    pub url: Option<String>,
    /// When it was seen whole.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub looked_at: Option<Timestamp>,
    /// Bytes of all images; what they share counts once.
    pub bytes: Option<u64>,
    /// What went wrong since.
    pub error: Option<String>,
    /// Days that an image is kept which nobody pushes or pulls; null for ever.
    pub images_days: Option<u32>,
    /// How many there are of what was asked for, also where fewer are listed.
    pub count: u64,
    /// By repository.
    pub images: Vec<ImageView>,
}

/// An image with all of its tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageView {
    /// Such as `team/app`.
    pub repository: String,
    /// What its manifest hashes to.
    pub digest: String,
    /// By name.
    pub tags: Vec<String>,
    /// Of all that it consists of, what it shares with others included.
    pub bytes: u64,
    /// When it was last pushed or pulled, or first seen.
    #[schema(value_type = String, format = DateTime)]
    pub last_used_at: Timestamp,
    /// From when on it may be deleted; null for never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}
