//! Arbitrary OVMF images, unified kernel images and addons: measuring them never panics and is bounded.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/boot-measure/tests/ovmf/invariants.rs"]
mod invariants;

fuzz_target!(|data: &[u8]| invariants::check(data));
