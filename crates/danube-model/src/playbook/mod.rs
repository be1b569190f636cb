//! What a playbook job is to do: where the playbook comes from, on which hosts it runs,
//! and with what.
//!
//! [`Playbook::read`] reads the fields of a submit and finds every mistake in one pass.

mod inventory;
mod options;
mod run;
pub mod source;
mod uses;
mod variables;

use serde::{Deserialize, Serialize};

pub use inventory::{Inline, Inventory};
pub use options::Options;
pub use run::{
    Counts, EVENT_TEXT_BYTES_MAX, EVENTS_MAX, FirstFailure, HOSTS_MAX, HostStatus, Progress,
    RunEvent, RunRecord, event_text,
};
pub use source::{Source, SourceKind};
pub use uses::{Use, Uses, VAULTS_MAX};
pub use variables::EXTRA_VARS_BYTES_MAX;

use crate::limits::JOB_DURATION_SECONDS_DEFAULT;
use crate::spec::Fields;

/// A checked playbook job. It can't be wrong: only the check makes one.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Playbook {
    /// Where the playbook comes from.
    pub source: Source,
    /// The hosts.
    pub inventory: Inventory,
    /// The names of its credentials.
    #[serde(default)]
    pub credentials: Uses,
    /// `--extra-vars`: they win over all others. May hold secrets.
    #[serde(default)]
    pub extra_vars: serde_json::Map<String, serde_json::Value>,
    /// How Ansible is called.
    #[serde(default)]
    pub options: Options,
}

impl Playbook {
    /// Takes the fields of a playbook job from those of a submit. None when something is
    /// wrong with them; every mistake is noted.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let before = fields.mistakes().len();
        let source = fields.require("source").and_then(|node| {
            let pointer = fields.below("source");
            Source::read(node, &pointer, fields.mistakes())
        });
        let inventory = fields.require("inventory").and_then(|node| {
            let pointer = fields.below("inventory");
            Inventory::read(node, &pointer, fields.mistakes())
        });
        let credentials = fields.take("credentials").map(|node| {
            let pointer = fields.below("credentials");
            Uses::read(node, &pointer, fields.mistakes())
        });
        let extra_vars = fields.take("extra_vars").map(|node| {
            let pointer = fields.below("extra_vars");
            variables::read(node, &pointer, fields.mistakes())
        });
        let options = fields.take("options").map(|node| {
            let pointer = fields.below("options");
            Options::read(node, &pointer, fields.mistakes())
        });
        if fields.mistakes().len() > before {
            return None;
        }
        Some(Self {
            source: source?,
            inventory: inventory?,
            credentials: credentials.flatten().unwrap_or_default(),
            extra_vars: extra_vars.flatten().unwrap_or_default(),
            options: options.flatten().unwrap_or_default(),
        })
    }

    /// Seconds that the whole job may take.
    #[must_use]
    pub fn max_duration_seconds(&self) -> u64 {
        self.options
            .timeout_seconds
            .unwrap_or(JOB_DURATION_SECONDS_DEFAULT)
    }
}
