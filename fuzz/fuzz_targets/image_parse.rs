//! Arbitrary bytes through the parsers of arm64, riscv64 and zboot images: they must not panic, and what they accept must
//! keep its promises.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/fmt-pe/tests/parse/image_promises.rs"]
mod promises;

fuzz_target!(|data: &[u8]| {
    promises::check_all(data);
    // The plugins add only words.
    let _ = boot_core::detect(&fmt_pe::FORMATS, &data).map_err(|error| error.to_string());
});
