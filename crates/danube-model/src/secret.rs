//! Secrets of pipelines: what they are called, and which one a pipeline gets.

use crate::credential::{SecretText, credential_name_rule, is_credential_name};

/// A secret to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSecret {
    /// Its name.
    pub name: String,
    /// The pipeline that it is for; none for every one that names it.
    pub pipeline: Option<String>,
    /// Its value.
    pub value: SecretText,
}

/// Whether a text can be the name of a secret: the same as of a credential.
#[must_use]
pub fn is_secret_name(text: &str) -> bool {
    is_credential_name(text)
}

/// What a name may be, for messages.
#[must_use]
pub fn secret_name_rule() -> String {
    credential_name_rule()
}
