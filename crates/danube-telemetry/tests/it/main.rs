//! The mechanism seen from outside: what a scrape reads and what a line looks like.

#[cfg(test)]
mod allocations;
#[cfg(test)]
#[path = "../support/collector.rs"]
mod collector;
#[cfg(test)]
mod exposition;
#[cfg(test)]
mod history;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod otlp;
#[cfg(test)]
mod spans;
#[cfg(test)]
mod text;
mod traces;
#[cfg(test)]
mod writer;
