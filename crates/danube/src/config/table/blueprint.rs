//! Options of the section `blueprint`.

use super::{Preset, Row};
use crate::config::value::Kind;

/// The longest pause between two looks: what is told of a stale blueprint begins after it.
const INTERVAL_SECONDS_MAX: u64 = 300;

/// The git repository that is followed.
pub(super) const BLUEPRINT: &[Row] = &[
    Row {
        key: "blueprint.url",
        kind: Kind::Repository,
        preset: Preset::Unset,
        flag: "blueprint-url",
        short_variable: None,
        help: "Git repository that declares pipelines, users, teams and settings; one of this machine lies in \
               `sources.allow_paths`; see docs/blueprint.md",
        example: "\"https://git.example.org/ops/blueprint.git\"",
    },
    Row {
        key: "blueprint.branch",
        kind: Kind::Text,
        preset: Preset::Fixed("main"),
        flag: "blueprint-branch",
        short_variable: None,
        help: "Branch of it that is followed",
        example: "\"production\"",
    },
    Row {
        key: "blueprint.interval_seconds",
        kind: Kind::Seconds {
            min: 1,
            max: INTERVAL_SECONDS_MAX,
        },
        preset: Preset::Fixed("60"),
        flag: "blueprint-interval",
        short_variable: None,
        help: "How often it is looked at",
        example: "30",
    },
    Row {
        key: "blueprint.credential",
        kind: Kind::Text,
        preset: Preset::Unset,
        flag: "blueprint-credential",
        short_variable: None,
        help: "Name of a stored credential that it is fetched with; without one, with what the server's own user has",
        example: "\"blueprint-deploy-key\"",
    },
    Row {
        key: "blueprint.dir",
        kind: Kind::Path,
        preset: Preset::Unset,
        flag: "blueprint-dir",
        short_variable: None,
        help: "A directory of this machine that declares the same, for who has no git repository for it; read at the start and at SIGHUP",
        example: "\"/etc/danube/blueprint\"",
    },
];
