//! The Docker registry that images of jobs lie in: somebody else's, at `registry.url`.

mod api;

pub(crate) use api::Api;

use crate::settings::{RegistryAddress, RegistrySettings};

/// The registry, as far as there is one.
pub(crate) struct Registry {
    settings: RegistrySettings,
}

impl Registry {
    pub(crate) fn new(settings: &RegistrySettings) -> Self {
        Self {
            settings: settings.clone(),
        }
    }

    /// How it is called now; none where none is configured.
    pub(crate) fn api(&self) -> Option<Api> {
        self.settings.url.as_ref().map(Api::new)
    }
}

/// Asks a registry whether it is one; may take five seconds.
///
/// # Errors
/// What is wrong, for people.
pub fn ask_registry(address: &RegistryAddress) -> Result<(), String> {
    Api::new(address).answers()
}
