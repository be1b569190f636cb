//! Options of the section `health`.

use danube_signals::Check;
use danube_telemetry::LabelEnum;

use super::{Preset, Row};
use crate::config::value::{DAY_SECONDS, Kind};

/// How the server looks after itself.
pub(super) const HEALTH: &[Row] = &[
    Row {
        key: "health.interval_seconds",
        kind: Kind::Seconds {
            min: 1,
            max: DAY_SECONDS,
        },
        preset: Preset::Fixed("300"),
        flag: "health-interval",
        short_variable: None,
        help: "How often all health checks run; those of database, disk, queue, workers and export run every 2 seconds as well",
        example: "60",
    },
    Row {
        key: "health.heal",
        kind: Kind::Word(&["auto", "dry_run", "off"]),
        preset: Preset::Fixed("auto"),
        flag: "heal",
        short_variable: None,
        help: "What is done when a check fails: what mends it, only an event that says what would be tried, or nothing",
        example: "\"dry_run\"",
    },
    Row {
        key: "health.hands_off",
        kind: Kind::Words(Check::VALUES),
        preset: Preset::Unset,
        flag: "hands-off",
        short_variable: None,
        help: "Checks whose part is never healed by the server, because somebody else looks after it",
        example: "[\"disk\"]",
    },
    Row {
        key: "health.not_gating",
        kind: Kind::Words(Check::VALUES),
        preset: Preset::Unset,
        flag: "not-gating",
        short_variable: None,
        help: "Checks that don't make the server unready when they fail",
        example: "[\"disk\"]",
    },
    Row {
        key: "health.disk_free_percent",
        kind: Kind::Count { min: 0, max: 90 },
        preset: Preset::Fixed("10"),
        flag: "health-disk-free-percent",
        short_variable: None,
        help: "Free share of the disk under which the disk check is degraded; 0 leaves it to a disk that is full",
        example: "3",
    },
];
