//! Calls about the secrets of pipelines.

use ureq::http::Method;

use super::{Client, ClientError, escape, with_query};
use crate::{NewSecret, SECRETS_PATH, SecretList, SecretView};

impl Client {
    /// What is known of every secret.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn secrets(&self) -> Result<SecretList, ClientError> {
        self.json(Method::GET, SECRETS_PATH, None, None)
    }

    /// Sets a secret, of one pipeline or of all that name it.
    ///
    /// # Errors
    /// [`ClientError`]; `invalid` with every mistake, none of which repeats the value.
    pub fn put_secret(
        &self,
        name: &str,
        pipeline: Option<&str>,
        new: &NewSecret,
    ) -> Result<SecretView, ClientError> {
        let body =
            serde_json::to_vec(new).map_err(|error| ClientError::Answer(error.to_string()))?;
        self.json(Method::PUT, &path(name, pipeline), Some(body), None)
    }

    /// Forgets a secret.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn delete_secret(
        &self,
        name: &str,
        pipeline: Option<&str>,
    ) -> Result<SecretView, ClientError> {
        self.json(Method::DELETE, &path(name, pipeline), None, None)
    }
}

fn path(name: &str, pipeline: Option<&str>) -> String {
    let path = format!("{SECRETS_PATH}/{}", escape(name));
    with_query(&path, &[("pipeline", pipeline)])
}
