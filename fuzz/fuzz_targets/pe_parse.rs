//! Parses arbitrary bytes as a PE file: no panic, and every accepted file has the invariants of the tests.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/fmt-pe/tests/parse/pe_invariants.rs"]
mod invariants;

fuzz_target!(|data: &[u8]| {
    invariants::check(data);
});
