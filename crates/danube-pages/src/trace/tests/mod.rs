//! Traces made by hand, and any others.

mod layout;
mod page;
