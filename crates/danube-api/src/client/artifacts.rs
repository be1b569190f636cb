//! Calls about the files that jobs leave.

use std::io::Read;
use std::time::Duration;

use ureq::SendBody;
use ureq::http::Method;

use super::{Client, ClientError, escape, job_path, with_query};
use crate::{ArtifactList, ArtifactView, KeepArtifacts};

/// How long a server may take to have a file on its disk once all of it was sent: a
/// gigabyte on a slow disk takes a minute.
const STORED_DEADLINE: Duration = Duration::from_secs(300);

impl Client {
    /// What a job left.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn artifacts(&self, id: &str) -> Result<ArtifactList, ClientError> {
        self.json(Method::GET, &job_path(id, "/artifacts"), None, None)
    }

    /// Leaves a file of so many bytes, as the job whose token the client has.
    ///
    /// # Errors
    /// [`ClientError`]; `name_taken` when the attempt left other bytes under this name.
    pub fn upload_artifact(
        &self,
        (id, name, step): (&str, &str, Option<&str>),
        from: &mut dyn Read,
        bytes: u64,
    ) -> Result<ArtifactView, ClientError> {
        let path = job_path(id, &format!("/artifacts/{}", escape(name)));
        // A refusal then comes before the bytes, which would hide it.
        let request = self
            .request(Method::PUT, &with_query(&path, &[("step", step)]))
            .header("expect", "100-continue")
            .header("content-type", "application/octet-stream")
            .header("content-length", bytes)
            .body(SendBody::from_reader(from));
        let request = request.map_err(|error| self.away(&error.into()))?;
        let request = self
            .agent
            .configure_request(request)
            .timeout_recv_response(Some(STORED_DEADLINE))
            .build();
        let mut answer = self.send(request)?;
        self.read(&mut answer)
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
