//! Calls about the blueprint.

use ureq::http::Method;

use super::{Client, ClientError};
use crate::{BLUEPRINT_PATH, BlueprintSynced, BlueprintView};

impl Client {
    /// How the blueprint stands.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn blueprint(&self) -> Result<BlueprintView, ClientError> {
        self.json(Method::GET, BLUEPRINT_PATH, None, None)
    }

    /// Looks at its repository now, and waits for what comes of it.
    ///
    /// # Errors
    /// [`ClientError`]; `blueprint_wrong` with every mistake.
    pub fn sync_blueprint(&self) -> Result<BlueprintSynced, ClientError> {
        self.json(Method::POST, &format!("{BLUEPRINT_PATH}/sync"), None, None)
    }
}
