//! The audit log.

use ureq::http::Method;

use super::{Client, ClientError};
use crate::{AUDIT_PATH, AuditList};

impl Client {
    /// Entries after this number, oldest first, so many at most.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn audit(&self, after: u64, limit: u32) -> Result<AuditList, ClientError> {
        let path = format!("{AUDIT_PATH}?after={after}&limit={limit}");
        self.json(Method::GET, &path, None, None)
    }
}
