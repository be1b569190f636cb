//! What the benches share: a real server, a client for it, numbers and how they are
//! shown.

pub mod client;
pub mod figures;
pub mod jobs;
pub mod redis;
pub mod rng;
pub mod server;
pub mod worker;
