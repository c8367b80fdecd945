//! Arbitrary bytes through the bzImage parser: it must not panic, and what it accepts must keep its promises.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/fmt-bzimage/tests/parse/promises.rs"]
mod promises;

fuzz_target!(|data: &[u8]| {
    if let Ok(Some(kernel)) = fmt_bzimage::BzImage::read(&data) {
        promises::check(data, &kernel);
    }
});
