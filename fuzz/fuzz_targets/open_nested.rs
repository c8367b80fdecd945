//! Arbitrary files: all their layers are opened within the limits, or there is an error. The content of the last layer goes through the formats too.

#![no_main]

use boot_core::{KernelFormat, detect};
use fmt_wrapped::{Limits, WRAPPERS, open};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    layers: 3,
    len: 1 << 20,
};

const FORMATS: [&dyn KernelFormat; 4] = [
    &fmt_bzimage::FORMAT,
    &fmt_elf::FORMAT,
    &fmt_pe::ARM64_IMAGE,
    &fmt_pe::RISCV_IMAGE,
];

fuzz_target!(|data: &[u8]| {
    let layers = match open(&data, &WRAPPERS, &LIMITS) {
        Ok(layers) => layers,
        Err(error) => return fmt_test::assert_has_text(&error),
    };
    assert!(layers.len() <= LIMITS.layers);
    assert!(layers.iter().all(|layer| layer.content.len() <= LIMITS.len));
    if let Some(layer) = layers.last() {
        let _ = detect(&FORMATS, &layer.content);
    }
});
