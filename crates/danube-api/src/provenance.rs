//! Where artifacts come from, signed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A signed statement, as DSSE has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Envelope {
    /// The statement in base64: JSON, `https://in-toto.io/Statement/v1`.
    pub payload: String,
    /// `application/vnd.in-toto+json`.
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// Who signed it.
    pub signatures: Vec<EnvelopeSignature>,
}

/// A signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvelopeSignature {
    /// SHA-256 of the public key's 32 bytes, in hex.
    pub keyid: String,
    /// Ed25519 over the pre-authentication encoding of type and payload, in base64.
    pub sig: String,
}
