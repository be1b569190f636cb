//! What an archive says of itself: at its beginning what it is, at its end what there is.

use danube_model::Timestamp;
use serde::{Deserialize, Serialize};

/// The layout that this program writes and reads. A new kind of file, or another
/// meaning of one, is a new format.
pub(crate) const FORMAT: u32 = 1;

/// Bytes of either text: some hundred, and names that were left out.
pub(crate) const TEXT_BYTES_MAX: u64 = 1024 * 1024;

/// The first file of an archive, so that what isn't a backup, or is one of a newer
/// program, is told apart at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The layout.
    pub format: u32,
    /// Version of the program that wrote it.
    pub program: String,
    /// The moment that the database shows.
    pub taken_at: Timestamp,
    /// A server worked meanwhile.
    pub serving: bool,
    /// The sealing keys, the admin key and the settings file are in it.
    pub with_keys: bool,
}

/// The last file of an archive: only a whole one has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// As at the beginning.
    #[serde(flatten)]
    pub about: About,
    /// The database's schema.
    pub schema: u32,
    /// When all was copied.
    pub finished_at: Timestamp,
    /// Jobs in the database.
    pub jobs: u64,
    /// Of these, those that hadn't ended.
    pub live_jobs: u64,
    /// Logs.
    pub logs: u64,
    /// Logs that a job names and that weren't there.
    pub logs_gone: u64,
    /// Traces.
    pub traces: u64,
    /// Files of pipelines.
    pub pipelines: u64,
    /// Files before `SHA256SUMS`, and their bytes.
    pub files: u64,
    /// See `files`.
    pub bytes: u64,
    /// SHA-256 of `SHA256SUMS`, in hexadecimal.
    pub sums_sha256: String,
    /// Files that an archive can't hold, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}
