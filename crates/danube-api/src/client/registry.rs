//! Calls about the registry.

use ureq::http::Method;

use super::{Client, ClientError, with_query};
use crate::{REGISTRY_IMAGES_PATH, RegistryView};

impl Client {
    /// What lay in the registry when the server looked last, of one repository or of all.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn registry_images(
        &self,
        repository: Option<&str>,
        limit: Option<u32>,
    ) -> Result<RegistryView, ClientError> {
        let limit = limit.map(|it| it.to_string());
        let query = [("repository", repository), ("limit", limit.as_deref())];
        let path = with_query(REGISTRY_IMAGES_PATH, &query);
        self.json(Method::GET, &path, None, None)
    }
}
