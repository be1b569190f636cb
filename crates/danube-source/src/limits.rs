//! How much a source may be, each limit with its reason.

use std::time::Duration;

/// Bytes of a downloaded archive. Playbooks with their roles and collections
/// are some megabytes; what is larger is data, and belongs elsewhere.
pub(crate) const DOWNLOAD_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Bytes of an inventory behind an address: ten thousand hosts with a page of variables each.
pub(crate) const INVENTORY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of all files of a source together: the job's directory holds them.
pub(crate) const UNPACKED_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Files, directories and links of a source: each costs an inode, and time when
/// the job's directory is given away and removed.
pub(crate) const ENTRIES_MAX: usize = 50_000;

/// Directories above a file: tools that walk recurse, and paths have an end.
pub(crate) const DEPTH_MAX: usize = 32;

/// Bytes that one byte of an archive may become, in the whole. Text shrinks to a
/// tenth; zeros to a thousandth.
pub(crate) const RATIO_MAX: u64 = 200;

/// Bytes below which nobody asks for the ratio: small files of zeros are fine.
pub(crate) const RATIO_FREE_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of the headers that come before an entry (long names, PAX records):
/// names of the longest kind fit several times.
pub(crate) const EXTENSION_BYTES_MAX: u64 = 16 * 1024;

/// Bytes of a checksum file or of `maven-metadata.xml`: snapshots of years fit.
pub(crate) const METADATA_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes that a git fetch may put on disk, more than a tree may have because
/// servers that don't know the commit by its id send the history.
pub(crate) const FETCH_BYTES_MAX: u64 = 2 * UNPACKED_BYTES_MAX;

/// Bytes of all mirrors together, unless the settings say otherwise: a small
/// share of any disk that jobs run on.
pub(crate) const CACHE_BYTES_DEFAULT: u64 = 4 * 1024 * 1024 * 1024;

/// Time after which a mirror that nobody used is removed: repositories come and
/// go, and a month spans every regular schedule but the yearly.
pub(crate) const MIRROR_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Packs of one mirror. Each fetch adds one, and git looks into all of them;
/// above that a mirror is made anew, which takes one fetch.
pub(crate) const PACKS_MAX: usize = 64;

/// Bytes kept of what git says: its errors are the last lines.
pub(crate) const GIT_OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// How often a wait for git or for a lock looks at the deadline and at a cancel.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

// What is checked before it is unpacked must fit after it.
const _: () = assert!(DOWNLOAD_BYTES_MAX <= UNPACKED_BYTES_MAX);
const _: () = assert!(METADATA_BYTES_MAX <= DOWNLOAD_BYTES_MAX);
const _: () = assert!(INVENTORY_BYTES_MAX <= DOWNLOAD_BYTES_MAX);
