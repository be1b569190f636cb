//! Webhooks that tell of ended jobs, on the wire.

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A webhook: what is told, to whom, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// `webhook-id` of every attempt.
    pub id: String,
    /// The job that it tells of.
    pub job_id: String,
    /// Its address without the query, which may hold a token.
    pub callback_url: String,
    /// `pending`, `delivered` or `failed`.
    pub status: String,
    /// How many attempts there were.
    pub attempts: u32,
    /// When the job ended.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it is tried next.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// When it was delivered or given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub settled_at: Option<Timestamp>,
    /// The attempts, oldest first, as far as they are kept; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<DeliveryAttempt>>,
}

/// An attempt to deliver a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryAttempt {
    /// Which, from 1.
    pub number: u32,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// How long it took.
    pub duration_ms: u64,
    /// The answer's status, when there was an answer.
    pub status_code: Option<u16>,
    /// Why it doesn't count as delivered.
    pub error: Option<String>,
}

/// A page of webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryList {
    /// That of the newest job first.
    pub deliveries: Vec<DeliveryView>,
    /// Where the next page begins; null on the last.
    pub next_cursor: Option<String>,
}

/// A secret that signs webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SigningSecret {
    /// `whsec_…`. It is shown this once.
    pub secret: String,
    /// Until when the one that it replaces signs too, when there was one that somebody has
    /// seen. Those before that end earlier, each 24 hours after it was replaced.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub previous_valid_until: Option<Timestamp>,
}
