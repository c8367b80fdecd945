//! Arbitrary calls of the boot services in `efi-core`: no panic, and the state is that of simple models.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/efi-core/tests/calls/model.rs"]
mod model;

fuzz_target!(|data: &[u8]| model::run(data));
