//! Arbitrary ACPI tables and definition blocks: reading them never panics and is bounded, and what is found has the invariants of the tests.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/fw-acpi/tests/acpi/invariants.rs"]
mod invariants;

fuzz_target!(|data: &[u8]| {
    if data.starts_with(b"RSD PTR ") {
        invariants::check_memory(data);
    } else {
        invariants::check_aml(data);
    }
});
