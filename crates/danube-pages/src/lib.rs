//! The pages: plain values, and pure functions that render them.
//!
//! The server makes a page's value from what it knows; the value is JSON for a program and, by a
//! template, HTML for a browser. Nothing here reads a clock, a file or a store, so what a page
//! shows is a function of its value and its [`Shell`]. All that comes from outside is text: the
//! templates escape it, and the policy that the pages are sent with lets no script run but ours.

pub mod admin;
pub mod alerts;
pub mod assets;
pub mod attempts;
pub mod chart;
pub mod checks;
pub mod dashboards;
pub mod diff;
pub mod error;
pub mod first_error;
pub mod grid;
pub mod job;
pub mod jobs;
pub mod log;
pub mod login;
mod markdown;
mod page;
pub mod pipelines;
mod shell;
pub mod signals;
pub mod trace;
pub mod words;

pub use page::Page;
pub use shell::{Notice, Shell, Tab, Viewer};
