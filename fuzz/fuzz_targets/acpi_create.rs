//! Arbitrary machines: their ACPI tables are refused with a message, or `fw-acpi`, which shares no code with their writer, finds in them what the
//! machine has.

#![no_main]

use boot_acpi as _;
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/boot-acpi/tests/support/any_machine.rs"]
mod any_machine;

fuzz_target!(|data: &[u8]| any_machine::check(data));
