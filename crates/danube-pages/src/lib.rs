//! The pages: plain values, and pure functions that render them.
//!
//! The server makes a page's value from what it knows; the value is JSON for a program and, by a
//! template, HTML for a browser. Nothing here reads a clock, a file or a store, so what a page
//! shows is a function of its value and its [`Shell`]. All that comes from outside is text: the
//! templates escape it, and the policy that the pages are sent with lets no script run but ours.

pub mod admin;
pub mod assets;
pub mod error;
pub mod job;
pub mod jobs;
pub mod login;
mod page;
pub mod pipelines;
mod shell;
pub mod words;

pub use page::Page;
pub use shell::{Notice, Shell, Tab, Viewer};
