#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chukei_fuzz::configuration::check(data));
