//! Calls about workers on other machines.

use ureq::http::Method;

use super::{Client, ClientError, escape};
use crate::{NewWorker, NewWorkerView, WORKERS_PATH, WorkerList, WorkerView};

impl Client {
    /// Makes a worker.
    ///
    /// # Errors
    /// [`ClientError`]; `name_taken` when a live worker has the name.
    pub fn create_worker(&self, new: &NewWorker) -> Result<NewWorkerView, ClientError> {
        let body =
            serde_json::to_vec(new).map_err(|error| ClientError::Answer(error.to_string()))?;
        self.json(Method::POST, WORKERS_PATH, Some(body), None)
    }

    /// Every worker on another machine.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn workers(&self) -> Result<WorkerList, ClientError> {
        self.json(Method::GET, WORKERS_PATH, None, None)
    }

    /// Revokes a worker's token.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn revoke_worker(&self, name: &str) -> Result<WorkerView, ClientError> {
        self.json(
            Method::DELETE,
            &format!("{WORKERS_PATH}/{}", escape(name)),
            None,
            None,
        )
    }
}
