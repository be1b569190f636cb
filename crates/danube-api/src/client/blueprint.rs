//! Calls about the blueprint, and the settings that it makes some of.

use ureq::http::Method;

use super::{Client, ClientError};
use crate::{BLUEPRINT_PATH, BlueprintSynced, BlueprintView, CONFIG_PATH, ConfigView};

impl Client {
    /// How the blueprint stands.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn blueprint(&self) -> Result<BlueprintView, ClientError> {
        self.json(Method::GET, BLUEPRINT_PATH, None, None)
    }

    /// The settings that hold now, each with who said it.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn config(&self) -> Result<ConfigView, ClientError> {
        self.json(Method::GET, CONFIG_PATH, None, None)
    }

    /// Looks at its repository now, and waits for what comes of it.
    ///
    /// # Errors
    /// [`ClientError`]; `blueprint_wrong` with every mistake.
    pub fn sync_blueprint(&self) -> Result<BlueprintSynced, ClientError> {
        self.json(Method::POST, &format!("{BLUEPRINT_PATH}/sync"), None, None)
    }
}
