//! Calls about where artifacts come from.

use std::io::Read;

use ureq::SendBody;
use ureq::http::Method;

use super::{ANSWER_BYTES_MAX, Client, ClientError, job_path};
use crate::{Envelope, PROVENANCE_KEY_PATH};

impl Client {
    /// The signed statement about what a job left.
    ///
    /// # Errors
    /// [`ClientError`]; `wrong_state` when the job hasn't ended.
    pub fn provenance(&self, id: &str) -> Result<Envelope, ClientError> {
        self.json(Method::GET, &job_path(id, "/provenance"), None, None)
    }

    /// The public keys that such statements are signed with, as PEM.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn provenance_keys(&self) -> Result<String, ClientError> {
        let request = self.request(Method::GET, PROVENANCE_KEY_PATH);
        let request = request.body(SendBody::none());
        let request = request.map_err(|error| self.away(&error.into()))?;
        let mut text = String::new();
        let body = self.send(request)?.into_body().into_reader();
        body.take(ANSWER_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| ClientError::Answer(error.to_string()))?;
        Ok(text)
    }
}
