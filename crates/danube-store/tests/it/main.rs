//! What the store promises, tested from outside.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy doesn't take for tests"
)]

mod admission;
mod blueprint;
mod commits;
mod copy;
mod crash;
mod credentials;
mod disk;
mod fence;
mod forges;
mod jobs;
mod keys;
mod late;
mod lists;
mod open;
mod pipeline_secrets;
mod playbooks;
mod rotation;
mod secrets;
mod support;
mod timing;
mod webhooks;
