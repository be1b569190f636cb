//! The blueprint: what a git repository declares of pipelines, users, teams and settings.
//!
//! [`read()`] takes a directory and gives a [`Blueprint`] that holds together, or every mistake
//! of every file with its place. It changes nothing and asks nobody. [`changes()`] says what one
//! blueprint does differently from another, [`schemas()`] describes the files to editors.
//!
//! ```text
//! files ──▶ read ──▶ config | person | pipeline (one file each) ──▶ whole (between files)
//! ```

mod changes;
mod config;
mod cron;
mod files;
mod model;
mod person;
mod pipeline;
mod read;
mod schedule;
mod schema;
mod texts;
mod triggers;
mod whole;

pub use changes::{Change, ChangeKind, Part, changes};
pub use cron::{BadCron, Cron};
pub use files::{BYTES_MAX, DEPTH_MAX, ENTRIES_MAX, FILES_MAX};
pub use model::{
    Blueprint, Config, CronTrigger, Declared, Keep, Limits, Observability, Permission, Permissions,
    PullRequestTrigger, PushTrigger, Redaction, Retention, Team, Triggers, User,
};
pub use read::read;
pub use schedule::Schedule;
pub use schema::{Schema, schemas};
pub use texts::matches;
