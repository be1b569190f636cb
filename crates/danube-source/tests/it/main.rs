//! Sources fetched for real: from a git daemon, an HTTP server, hostile archives.

#[cfg(test)]
mod ansible;
#[cfg(test)]
mod archives;
#[cfg(test)]
#[path = "../support/backend.rs"]
mod backend;
#[cfg(test)]
mod git;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod http;
#[cfg(test)]
mod local;
#[cfg(test)]
mod nexus;
#[cfg(test)]
mod smart;
#[cfg(test)]
mod support;
