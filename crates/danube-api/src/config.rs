//! The settings that a server runs with, and who said each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The settings that hold now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigView {
    /// The file that was read at the start; null where none was.
    pub file: Option<String>,
    /// Each option by its name, `section.name`. Passwords and tokens in them are left out.
    pub options: BTreeMap<String, SettingView>,
}

/// One option.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SettingView {
    /// What holds; null when it isn't set.
    pub value: Option<Value>,
    /// Who said it.
    pub origin: SettingOrigin,
}

/// Who said what holds of an option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum SettingOrigin {
    /// A flag of `danube master`.
    Flag {
        /// With its dashes.
        flag: String,
    },
    /// A variable of its environment.
    Environment {
        /// Its name.
        variable: String,
    },
    /// The settings file.
    File {
        /// Its path.
        file: String,
        /// The line, from 1.
        line: u64,
    },
    /// The blueprint.
    Blueprint {
        /// The commit in force; absent when it is a directory.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<String>,
    },
    /// Somebody who asked for it while the server runs: the level of its log.
    Request,
    /// The settings, which were read again at SIGHUP: the level of the server's log.
    Reload,
    /// Nobody.
    Default,
}
