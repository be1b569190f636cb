//! The mechanism seen from outside: what a scrape reads and what a line looks like.

#[cfg(test)]
mod allocations;
#[cfg(test)]
mod exposition;
#[cfg(test)]
mod lines;
mod metrics;
mod text;
#[cfg(test)]
mod writer;
