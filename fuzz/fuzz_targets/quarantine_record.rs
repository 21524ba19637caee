#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fchannel_fuzz::run("quarantine_record", data));
