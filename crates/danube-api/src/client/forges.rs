//! Calls about forges.

use ureq::http::Method;

use super::{Client, ClientError, escape, with_query};
use crate::{FORGES_PATH, ForgeStatus, ForgeStatusList};

impl Client {
    /// A page of what forges weren't told. `query` holds `status`, `limit`, `cursor`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn forge_statuses(
        &self,
        query: &[(&str, Option<&str>)],
    ) -> Result<ForgeStatusList, ClientError> {
        let path = format!("{FORGES_PATH}/statuses");
        self.json(Method::GET, &with_query(&path, query), None, None)
    }

    /// Has a forge be told again how a job stands.
    ///
    /// # Errors
    /// [`ClientError`]; `not_found` where no forge asked for the job.
    pub fn replay_forge_status(&self, job: &str) -> Result<ForgeStatus, ClientError> {
        let path = format!("{FORGES_PATH}/statuses/{}/replay", escape(job));
        self.json(Method::POST, &path, Some(Vec::new()), None)
    }
}
