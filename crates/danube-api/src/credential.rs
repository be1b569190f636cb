//! Credentials on the wire: values go in, names and metadata come back.

use std::collections::BTreeMap;
use std::fmt;

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Sets a credential. Which fields there are depends on the kind.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCredential {
    /// Its name: letters, digits and `-_.`. Stands in the address when it is `PUT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `ssh_key`, `password`, `become`, `vault_password`, `git`, `nexus_token`,
    /// `github`, `gitlab` or `gitea`.
    pub kind: String,
    /// Secret: a private key as `ssh-keygen` writes it, with its last newline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<String>,
    /// Secret: opens the private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
    /// Secret: a password, or a token that is used as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Secret: a bearer token, or the one by which a forge is told results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Secret: what signs a forge's webhooks, or comes along with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<String>,
    /// Shown: the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Shown: how to become another user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Shown: the vault id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_id: Option<String>,
    /// Shown: the address of a forge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl fmt::Debug for NewCredential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("NewCredential")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// What is known of a credential. Its values never come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CredentialView {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: String,
    /// What is shown of it: `username`, `method`, `vault_id`, `url`.
    pub metadata: BTreeMap<String, String>,
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
    /// When a job was last given it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

/// Every credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CredentialList {
    /// By name.
    pub credentials: Vec<CredentialView>,
}

/// A job was given the credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CredentialUseView {
    /// The job.
    pub job_id: String,
    /// Its attempt.
    pub attempt: u32,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Which jobs were given a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CredentialUsage {
    /// The latest first; the last 1,000 are kept.
    pub uses: Vec<CredentialUseView>,
}

/// How the key stands that seals credentials and what jobs are asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SealKeyView {
    /// Tells keys apart and says nothing of them.
    pub key_id: String,
    /// `idle`; `rotating` while what an older key sealed is sealed anew; `stopped` when
    /// that met an error and waits to be asked again.
    pub state: String,
    /// Rows that this rotation, or the last one, sealed anew.
    pub rows_resealed: u64,
    /// Rows that no key opens. They were unreadable before.
    pub rows_unreadable: u64,
    /// Why it stopped.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use danube_model::credential::KINDS;

    use super::*;

    #[test]
    fn every_field_of_every_kind_can_be_sent_and_none_is_shown() {
        for spec in KINDS {
            for field in spec.fields {
                let body = serde_json::json!({"kind": spec.name, field.name: "hunter2"});
                let read: NewCredential = serde_json::from_value(body.clone()).unwrap();
                assert_eq!(serde_json::to_value(&read).unwrap(), body);
                assert!(!format!("{read:?}").contains("hunter2"), "{}", field.name);
            }
        }
    }
}
