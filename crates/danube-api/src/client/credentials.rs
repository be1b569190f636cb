//! Calls about credentials, and about the key that seals them.

use ureq::http::Method;

use super::{Client, ClientError, escape};
use crate::{
    CREDENTIALS_PATH, CredentialList, CredentialUsage, CredentialView, NewCredential,
    SEAL_KEY_PATH, SealKeyView,
};

impl Client {
    /// What is known of every credential.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn credentials(&self) -> Result<CredentialList, ClientError> {
        self.json(Method::GET, CREDENTIALS_PATH, None, None)
    }

    /// What is known of one credential.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn credential(&self, name: &str) -> Result<CredentialView, ClientError> {
        self.json(Method::GET, &credential_path(name, ""), None, None)
    }

    /// Makes a credential, or sets it anew.
    ///
    /// # Errors
    /// [`ClientError`]; `invalid` with every mistake, none of which repeats a value.
    pub fn put_credential(
        &self,
        name: &str,
        new: &NewCredential,
    ) -> Result<CredentialView, ClientError> {
        let body =
            serde_json::to_vec(new).map_err(|error| ClientError::Answer(error.to_string()))?;
        self.json(Method::PUT, &credential_path(name, ""), Some(body), None)
    }

    /// Forgets a credential.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn delete_credential(&self, name: &str) -> Result<CredentialView, ClientError> {
        self.json(Method::DELETE, &credential_path(name, ""), None, None)
    }

    /// Which jobs were given a credential.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn credential_usage(&self, name: &str) -> Result<CredentialUsage, ClientError> {
        self.json(Method::GET, &credential_path(name, "/usage"), None, None)
    }

    /// How the sealing key stands.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn seal_key(&self) -> Result<SealKeyView, ClientError> {
        self.json(Method::GET, SEAL_KEY_PATH, None, None)
    }

    /// Begins to rotate the sealing key, or goes on with it.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn rotate_seal_key(&self) -> Result<SealKeyView, ClientError> {
        let path = format!("{SEAL_KEY_PATH}/rotate");
        self.json(Method::POST, &path, Some(Vec::new()), None)
    }
}

fn credential_path(name: &str, rest: &str) -> String {
    format!("{CREDENTIALS_PATH}/{}{rest}", escape(name))
}
