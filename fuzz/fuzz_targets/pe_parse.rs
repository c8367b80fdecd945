//! Arbitrary bytes through the PE parser: it must not panic, and what it accepts must keep its promises.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/fmt-pe/tests/parse/pe_promises.rs"]
mod promises;

fuzz_target!(|data: &[u8]| {
    promises::check(data);
});
