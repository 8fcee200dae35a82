//! Any bytes as a lease: attached on every trust level, read and written, within bounds.
#![no_main]

#[allow(dead_code, unused_imports, unused_mut)]
#[path = "../../../tests/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hostile::fuzz(bytes));
