//! Options of the section `forges`.

use super::{Preset, Row};
use crate::config::value::Kind;

/// How forges are called.
pub(super) const FORGES: &[Row] = &[
    Row {
        key: "forges.allow_private",
        kind: Kind::Networks,
        preset: Preset::Unset,
        flag: "forges-allow-private",
        short_variable: None,
        help: "Networks and hosts that a forge may be in although they aren't public; see docs/triggers.md",
        example: "[\"10.1.0.0/16\", \"git.internal\", \"*.corp.example\"]",
    },
    Row {
        key: "forges.allow_http",
        kind: Kind::Bool,
        preset: Preset::Fixed("false"),
        flag: "forges-allow-http",
        short_variable: None,
        help: "Let the address of a forge begin with http://, where others on the way read its token",
        example: "true",
    },
];
