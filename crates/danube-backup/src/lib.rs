//! Backups of a data directory: taken while it is served, checked, restored.
//!
//! A backup is one tar that any tar can read. [`Backup::of_serving`] holds a moment
//! still and [`Backup::write`] streams it; [`examine()`] finds out whether an archive is
//! whole and right; [`restore()`] makes a data directory of it, or changes nothing.
//! `docs/backup.md` has the layout. Start with `take.rs` for the order in which things
//! are copied, and with `names.rs` for what an archive may hold.

mod examine;
mod manifest;
mod names;
mod read;
mod restore;
mod sums;
mod take;
mod target;
mod unpack;
mod write;

pub use examine::{Check, Found, Report, examine};
pub use manifest::{About, Manifest};
pub use restore::{RestoreError, Restored, restore};
pub use take::{Backup, Source, TakeError};
