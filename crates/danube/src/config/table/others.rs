//! Options of the sections `sources` and `webhooks`: where playbooks come from, and who is told
//! of a job's end.

use super::{Preset, Row};
use crate::config::value::Kind;

/// Whom jobs may fetch from, and whom the server may call.
pub(super) const OTHERS: &[Row] = &[
    Row {
        key: "sources.allow_paths",
        kind: Kind::Paths,
        preset: Preset::Unset,
        flag: "allow-path",
        short_variable: None,
        help: "Directories from which file:// repositories may be cloned",
        example: "[\"/srv/git\"]",
    },
    Row {
        key: "sources.allow_private",
        kind: Kind::Networks,
        preset: Preset::Unset,
        flag: "sources-allow-private",
        short_variable: None,
        help: "Networks and hosts that sources of playbooks may come from although they aren't public",
        example: "[\"10.1.0.0/16\", \"*.corp.example\"]",
    },
    Row {
        key: "sources.galaxy",
        kind: Kind::Bool,
        preset: Preset::Fixed("false"),
        flag: "sources-galaxy",
        short_variable: None,
        help: "Install the roles and collections that a playbook's source requires, with ansible-galaxy in the walls of \
               its job",
        example: "true",
    },
    Row {
        key: "sources.galaxy_server",
        kind: Kind::Url,
        preset: Preset::Unset,
        flag: "sources-galaxy-server",
        short_variable: None,
        help: "The Galaxy server that is asked for roles and collections, in place of the public one",
        example: "\"https://galaxy.example.org\"",
    },
    Row {
        key: "webhooks.allow_private",
        kind: Kind::Networks,
        preset: Preset::Unset,
        flag: "webhooks-allow-private",
        short_variable: None,
        help: "Networks and hosts that a callback_url may lead to although they aren't public",
        example: "[\"10.1.0.0/16\", \"hooks.internal\", \"*.corp.example\"]",
    },
    Row {
        key: "webhooks.allow_http",
        kind: Kind::Bool,
        preset: Preset::Fixed("false"),
        flag: "webhooks-allow-http",
        short_variable: None,
        help: "Let a callback_url begin with http://, where others on the way read along",
        example: "true",
    },
    Row {
        key: "webhooks.retry_seconds",
        kind: Kind::Seconds { min: 1, max: 3_600 },
        preset: Preset::Fixed("10"),
        flag: "webhooks-retry",
        short_variable: None,
        help: "Longest pause before a webhook's second attempt; each later one may be three times as long, up to four hours",
        example: "30",
    },
    Row {
        key: "webhooks.retention_days",
        kind: Kind::Count { min: 1, max: 3_650 },
        preset: Preset::Fixed("30"),
        flag: "webhooks-days",
        short_variable: None,
        help: "Days after which a webhook that was delivered or given up is forgotten with its attempts",
        example: "90",
    },
];
