//! Whatever is written, in whatever pieces: nothing leaks, and nothing else changes.

use crate::seeds;
use crate::split::check_split;

/// Cases when nothing else is said; `make fuzz` says more.
const CASES_DEFAULT: u64 = 100_000;

#[test]
fn a_hundred_thousand_outputs_in_any_pieces_leak_nothing_and_keep_the_rest() {
    seeds::each(CASES_DEFAULT, 120, check_split);
}

#[test]
fn every_kept_output_leaks_nothing_and_keeps_the_rest() {
    seeds::each_kept("redact_split", check_split);
}
