//! Calls about pipelines.

use ureq::http::Method;

use super::{Client, ClientError};
use crate::{PIPELINES_PATH, PipelineList};

impl Client {
    /// The pipelines that the server knows by name.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn pipelines(&self) -> Result<PipelineList, ClientError> {
        self.json(Method::GET, PIPELINES_PATH, None, None)
    }
}
