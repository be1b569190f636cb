//! Redis Streams that carry which job waits from the master to its workers.
//!
//! Dispatch only. An entry says which job waits, and nothing of what it is to do; whoever
//! reads it asks the master for the job, which looks into the store. So Redis may lose
//! everything, repeat everything or bring back what was long done: the master fills it
//! again from the store, and a job that doesn't wait any more is refused.
//!
//! - One stream a declared queue, `{prefix}:queue:{name}`, with the one consumer group
//!   [`GROUP`]. `prefix` is the master's, so that several masters may share a Redis.
//! - An entry has the fields `job` and `traceparent` ([`Message`]). The master removes it
//!   when its job waits no more, whoever took it.
//! - `{prefix}:epoch` holds what the master wrote at its start or after a loss; when it is
//!   gone or another's, the streams can't be relied on.
//! - Consumers have the names of workers.
//!
//! [`Feed`] is the master's door, [`Source`] a worker's. Both block and belong on threads
//! that may; each has one connection, made anew after any failure, and all commands go
//! through one place (`call.rs`) that bounds their time and counts them.

mod address;
mod call;
mod feed;
mod message;
mod names;
mod source;

pub use address::{Address, BadAddress};
pub use call::{QueueError, ping};
pub use feed::{Feed, Listed, Place, Wholeness};
pub use message::Message;
pub use names::GROUP;
pub use source::{Entry, Source, WAIT};
