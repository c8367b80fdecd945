//! Parses arbitrary bytes as a bzImage: no panic, every accepted image has the invariants of the tests, and errors have texts.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/fmt-bzimage/tests/parse/invariants.rs"]
mod invariants;

fuzz_target!(|data: &[u8]| {
    match fmt_bzimage::BzImage::parse(&data) {
        Ok(None) => {}
        Ok(Some(kernel)) => invariants::check(data, &kernel),
        Err(error) => fmt_test::assert_has_text(&error),
    }
});
