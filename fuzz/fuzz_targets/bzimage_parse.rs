//! Parses arbitrary bytes as a bzImage: no panic, and every accepted image has the invariants of the tests.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/fmt-bzimage/tests/parse/invariants.rs"]
mod invariants;

fuzz_target!(|data: &[u8]| {
    if let Ok(Some(kernel)) = fmt_bzimage::BzImage::parse(&data) {
        invariants::check(data, &kernel);
    }
});
