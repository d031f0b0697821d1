#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| resolute_fuzz::session::run(bytes));
