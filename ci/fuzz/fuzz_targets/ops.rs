//! Operations on a ring, chosen by the fuzzer, against the model.
#![no_main]

#[allow(dead_code, unused_imports, unused_mut)]
#[path = "../../../tests/model.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|choices: &[u8]| model::fuzz(choices));
