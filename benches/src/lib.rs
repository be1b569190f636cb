//! What the benches share: a real server, and a client for it.

pub mod client;
pub mod server;
