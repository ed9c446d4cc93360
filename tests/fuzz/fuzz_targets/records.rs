//! See `conifer::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| conifer::fuzz::records(data));
