//! Options of the section `registry`.

use super::{Preset, Row};
use crate::config::value::Kind;

/// The registry that images of jobs lie in.
pub(super) const REGISTRY: &[Row] = &[
    Row {
        key: "registry.url",
        kind: Kind::Collector,
        preset: Preset::Unset,
        flag: "registry-url",
        short_variable: None,
        help: "Address of a Docker registry that somebody else runs: whether it answers is a health check; see docs/registry.md",
        example: "\"https://danube:password@registry.example.org\"",
    },
    Row {
        key: "registry.start",
        kind: Kind::Bool,
        preset: Preset::Fixed("false"),
        flag: "registry-start",
        short_variable: None,
        help: "Start a registry on this machine and look after it; its images lie in the data directory",
        example: "true",
    },
    Row {
        key: "registry.listen",
        kind: Kind::Address,
        preset: Preset::Fixed("127.0.0.1:5000"),
        flag: "registry-listen",
        short_variable: None,
        help: "Where the registry that is started listens: an address of this machine alone, since it asks for no login",
        example: "\"127.0.0.1:5001\"",
    },
    Row {
        key: "registry.program",
        kind: Kind::Text,
        preset: Preset::Fixed("docker-registry"),
        flag: "registry-program",
        short_variable: None,
        help: "The registry's program, by path or as found by PATH",
        example: "\"/usr/local/bin/registry\"",
    },
];
