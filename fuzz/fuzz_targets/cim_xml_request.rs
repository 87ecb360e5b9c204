#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| virtcimd::fuzzing::cim_xml_request(bytes));
