//! What the client commands share: finding the server, following a log, words.

mod connection;
mod follow;
mod job_calls;
mod log_sink;
mod login;
mod watched;
mod words;

pub(crate) use connection::{args, connect, login_server, names_server, url_of};
pub(crate) use follow::{Follow, LogAsked, wait_for_end};
pub(crate) use job_calls::connect_by_environment;
pub(crate) use login::Login;
pub(crate) use watched::Watched;
pub(crate) use words::{duration, moment, size};
