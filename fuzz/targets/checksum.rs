#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chukei_fuzz::checksum::check(data));
