//! Options of the section `registry`.

use super::{Preset, Row};
use crate::config::value::Kind;

/// The registry that images of jobs lie in.
pub(super) const REGISTRY: &[Row] = &[Row {
    key: "registry.url",
    kind: Kind::Collector,
    preset: Preset::Unset,
    flag: "registry-url",
    short_variable: None,
    help: "Address of a Docker registry that somebody else runs: whether it answers is a health check; see docs/registry.md",
    example: "\"https://danube:password@registry.example.org\"",
}];
