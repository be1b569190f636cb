//! Fetches the source of a playbook into a directory of its job, confined.
//!
//! [`Fetcher::fetch`] is all that a worker calls: plain data in, plain data out,
//! blocking, with a deadline. Whatever a source holds, it is written by
//! `confine` alone, below one directory and within limits; git's trees go the
//! same way as archives do.
//!
//! ```text
//! git ──▶ mirror (shared, locked) ──▶ git archive ─┐
//! nexus ─▶ URL, checksum ─┐                        ├─▶ unpack ──▶ confine ──▶ the job's directory
//! archive ────────────────┴─▶ download, checksum ──┘                ▲
//! local directory ──────────────────────────────────────────────────┘
//! ```

mod confine;
mod download;
mod error;
mod fetch;
pub mod galaxy;
mod git;
mod inventory;
mod limits;
mod local;
mod nexus;
mod role;
mod secret;
mod tether;
mod unpack;

pub use download::{Auth, Download, DownloadError};
pub use error::SourceError;
pub use fetch::{Fetched, Fetcher, Request, Settings, Tree, Watch};
pub use git::{GitCredential, settings as git_settings};
pub use secret::Secret;
pub use tether::{tether_main_if_asked, tied};
