//! Loads arbitrary bytes as an EFI image: no panic, and every loaded image equals that of a simple loader.
//!
//! The first eight bytes of the input select the load address, in pages.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/fmt-pe/tests/parse/pe_load_invariants.rs"]
mod invariants;

fuzz_target!(|data: &[u8]| {
    if let Some((page, file)) = data.split_first_chunk() {
        let address = u64::from_le_bytes(*page) << 12;
        invariants::check(file, address);
    }
});
