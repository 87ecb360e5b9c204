#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| virtcimd::fuzzing::query(text));
