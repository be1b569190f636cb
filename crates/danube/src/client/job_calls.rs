//! Calls of a job's own processes to its server.

use std::fs::File;
use std::path::PathBuf;

use danube_api::client::ClientError;
use danube_remote::{JobCallError, JobLink, JobServer};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::connection::job;
use crate::failure::Failure;

/// The way of this process to the server of its job.
pub(crate) struct JobCalls {
    link: JobLink,
    server: String,
    job: String,
}

/// By the environment of the job that this program runs in. `elsewhere` says what to do
/// outside of one.
pub(crate) fn connect_by_environment(elsewhere: &str) -> Result<JobCalls, Failure> {
    let (server, job, token) = job(elsewhere)?;
    let variable = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
    let link = JobLink::new(&JobServer {
        url: server.clone(),
        token,
        socket: variable("DANUBE_SOCKET").map(PathBuf::from),
        traceparent: variable("TRACEPARENT"),
    });
    let link = link.map_err(|why| Failure::usage(format!("call the server: {why}")))?;
    Ok(JobCalls { link, server, job })
}

impl JobCalls {
    /// The id of the job that this program runs in.
    pub(crate) fn job(&self) -> &str {
        &self.job
    }

    /// Sends JSON and reads JSON.
    pub(crate) fn call<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let answer = self.link.call(path, body);
        answer.map_err(|error| self.error(error))
    }

    /// Sends a file of so many bytes.
    pub(crate) fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        file: (&File, u64),
    ) -> Result<T, ClientError> {
        let answer = self.link.upload(path, file);
        answer.map_err(|error| self.error(error))
    }

    fn error(&self, error: JobCallError) -> ClientError {
        let away = |why| ClientError::Away {
            server: self.server.clone(),
            why,
        };
        match error {
            JobCallError::Problem(problem) => ClientError::Problem(problem),
            JobCallError::Away(why) => away(why),
            JobCallError::Answer(why) => ClientError::Answer(why),
            JobCallError::Unread(error) => away(format!("read the file: {error}")),
        }
    }
}
