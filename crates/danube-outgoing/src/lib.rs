//! HTTP to addresses that come from outside (a `callback_url`, an archive), so that they
//! can't be turned against the network that this server stands in.
//!
//! An address is looked at twice. [`Policy::check`] judges the text when it is saved, so
//! that whoever wrote it hears of it. [`Client`] judges it again when it is called, with
//! every IP address that its name leads to, and connects to none but those it has judged:
//! a name that answers differently the second time gains nothing. Redirects are followed
//! here, never below, and each is an address from outside like the first.
//!
//! Read on in `policy.rs` (which text), `address.rs` (which IP address), `names.rs` (names
//! to addresses), `client.rs` (a call).

mod address;
mod answer;
mod call;
mod client;
mod names;
mod policy;
mod rule;
mod target;

pub use answer::{Answer, Body};
pub use call::{Call, Failure, Meter};
pub use client::{Ask, Client, Done, Limits};
pub use names::{Names, SystemNames};
pub use policy::{Policy, Refused};
pub use rule::{BadRule, Rule};
pub use target::{Target, URL_BYTES_MAX};
