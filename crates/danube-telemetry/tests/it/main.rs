//! The mechanism seen from outside: what a scrape reads and what a line looks like.

#[cfg(test)]
mod allocations;
#[cfg(test)]
mod history;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod writer;
