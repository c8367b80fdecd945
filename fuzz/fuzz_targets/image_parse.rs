//! Parses arbitrary bytes as arm64, riscv64 and zboot images: no panic, and every accepted image has the invariants of the
//! tests.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/fmt-pe/tests/parse/image_invariants.rs"]
mod invariants;

fuzz_target!(|data: &[u8]| {
    invariants::check_all(data);
    // Error messages do not panic, either.
    let _ = boot_core::detect(&fmt_pe::FORMATS, &data).map_err(|error| error.to_string());
});
