//! Real calls to servers of our own on loopback, with names that lead where a test says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod redirects;
mod server;
