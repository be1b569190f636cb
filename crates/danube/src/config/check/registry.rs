//! The registry's settings.

use danube_master::{RegistryAddress, RegistrySettings};

use super::Values;

pub(super) fn read(it: &Values<'_>) -> RegistrySettings {
    let url = it.collector("registry.url").map(|address| RegistryAddress {
        authorization: address.authorization().map(|it| it.value),
        url: address.url,
    });
    RegistrySettings { url }
}
