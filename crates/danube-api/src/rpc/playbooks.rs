//! What a worker says of a playbook, and what it needs for one.

use std::collections::BTreeMap;

use danube_model::credential::{Credential, CredentialKind, SecretText};
use danube_model::playbook::{Progress, RunRecord};
use serde::{Deserialize, Serialize};

use super::Lease;

/// What a playbook did since the last report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Played {
    /// Of which attempt.
    pub lease: Lease,
    /// In order, the earliest first.
    pub records: Vec<RunRecord>,
    /// What all of it adds up to.
    pub progress: Progress,
}

/// A job needs these credentials, or secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsWanted {
    /// For which attempt.
    pub lease: Lease,
    /// Their names.
    pub names: Vec<String>,
}

/// A credential for a job. Holds secrets: there is no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct GivenCredential {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What is shown of it.
    pub metadata: BTreeMap<String, String>,
    /// Its values.
    pub values: BTreeMap<String, String>,
}

/// All credentials that were wanted, or why there are none.
#[derive(Clone, Serialize, Deserialize)]
pub struct CredentialsAnswer {
    /// All of them.
    #[serde(default)]
    pub credentials: Vec<GivenCredential>,
    /// Why none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A secret for a job. Holds a secret: there is no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct GivenSecret {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// All secrets that were wanted, or why there are none.
#[derive(Clone, Serialize, Deserialize)]
pub struct SecretsAnswer {
    /// All of them.
    #[serde(default)]
    pub secrets: Vec<GivenSecret>,
    /// Why none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl From<Credential> for GivenCredential {
    fn from(it: Credential) -> Self {
        let values = it.values.iter();
        Self {
            values: values
                .map(|(name, text)| (name.clone(), text.reveal().to_owned()))
                .collect(),
            kind: it.kind.as_str().to_owned(),
            name: it.name,
            metadata: it.metadata,
        }
    }
}

impl GivenCredential {
    /// The credential; none when its kind isn't known here.
    #[must_use]
    pub fn credential(self) -> Option<Credential> {
        let values = self.values.into_iter();
        Some(Credential {
            kind: CredentialKind::parse(&self.kind)?,
            name: self.name,
            metadata: self.metadata,
            values: values
                .map(|(name, text)| (name, SecretText::new(text)))
                .collect(),
        })
    }
}
