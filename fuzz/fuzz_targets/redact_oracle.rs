//! The redactor against the slow one that is right by inspection.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| danube_redact::oracle::check_bytes(data));
