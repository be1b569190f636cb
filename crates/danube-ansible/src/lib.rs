//! Runs Ansible: makes its command line and files, hears what it tells while it runs, and
//! says what its end means. Whoever uses this starts the process; the crate knows no
//! terminal, no HTTP and no SQL.
//!
//! ```text
//! prepare.rs ── command line, environment, 0600 files ──▶ ansible-playbook
//! listener.rs ◀── danube_callback.py, in Ansible's process: JSON lines over a socket
//!     └── heard.rs: plays, tasks, results; values that the vault decrypted
//! folds.rs ◀── the same plugin, in Ansible's output: where plays and tasks begin in it
//! outcome.rs: exit code and what was heard ──▶ why it failed, in a sentence
//! ```

mod folds;
mod heard;
mod listener;
mod outcome;
mod prepare;
mod version;

pub use folds::{Begins, FOLDS_MAX, Folds, Part};
pub use heard::Heard;
pub use listener::{Hear, Listener, Listening};
pub use outcome::{Failed, LAST_WORDS_BYTES, Why, failed};
pub use prepare::{Credentials, Prepared, Run, Vault, prepare};
pub use version::{NoAnsible, VERSION_MIN, Version, find};
