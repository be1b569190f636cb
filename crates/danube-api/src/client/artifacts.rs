//! Calls about the files that jobs leave.

use std::io::Read;

use ureq::SendBody;
use ureq::http::Method;

use super::{Client, ClientError, escape, job_path};
use crate::{ArtifactList, ArtifactView, KeepArtifacts};

impl Client {
    /// What a job left.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn artifacts(&self, id: &str) -> Result<ArtifactList, ClientError> {
        self.json(Method::GET, &job_path(id, "/artifacts"), None, None)
    }

    /// The bytes of one of them, as they come.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn artifact(&self, id: &str, name: &str) -> Result<impl Read + use<>, ClientError> {
        let path = job_path(id, &format!("/artifacts/{}", escape(name)));
        let request = self.request(Method::GET, &path).body(SendBody::none());
        let request = request.map_err(|error| self.away(&error.into()))?;
        Ok(self.send(request)?.into_body().into_reader())
    }

    /// Has them be kept whatever the settings say, or no more; all that there are now.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn keep_artifacts(
        &self,
        id: &str,
        keep: &KeepArtifacts,
    ) -> Result<ArtifactList, ClientError> {
        let body =
            serde_json::to_vec(keep).map_err(|error| ClientError::Answer(error.to_string()))?;
        self.json(Method::POST, &job_path(id, "/artifacts"), Some(body), None)
    }

    /// Deletes one of them.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn delete_artifact(&self, id: &str, name: &str) -> Result<ArtifactView, ClientError> {
        let path = job_path(id, &format!("/artifacts/{}", escape(name)));
        self.json(Method::DELETE, &path, None, None)
    }
}
