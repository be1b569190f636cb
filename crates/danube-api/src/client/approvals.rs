//! A call about jobs of forks.

use ureq::http::Method;

use super::{Client, ClientError, job_path};
use crate::JobView;

impl Client {
    /// Runs an ended job of a fork's commit again, with the secrets of its pipeline.
    ///
    /// # Errors
    /// [`ClientError`]; `wrong_state` when it isn't one that waits for that.
    pub fn approve(&self, id: &str) -> Result<JobView, ClientError> {
        let path = job_path(id, "/approve");
        self.json(Method::POST, &path, Some(Vec::new()), None)
    }
}
