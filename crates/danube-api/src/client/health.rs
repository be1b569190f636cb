//! What the server deletes when it is asked.

use ureq::http::Method;

use super::{Client, ClientError};
use crate::{REAPER_PATH, ReapView};

impl Client {
    /// Deletes what is kept no longer; with `dry_run`, only says which logs would go.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn reap(&self, dry_run: bool) -> Result<ReapView, ClientError> {
        let path = format!("{REAPER_PATH}?dry_run={dry_run}");
        self.json(Method::POST, &path, Some(Vec::new()), None)
    }
}
