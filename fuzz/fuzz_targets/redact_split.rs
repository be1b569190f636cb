//! Any output in any pieces: the same comes out, no canary is in it, the rest stays.
#![no_main]

#[path = "../../crates/danube-redact/tests/it/split.rs"]
mod split;

libfuzzer_sys::fuzz_target!(|data: &[u8]| split::check_split(data));
