//! The format as a plugin.

use boot_core::{DetectError, KernelFormat, detect};

use crate::writer::{file, v1};

#[test]
fn the_format_comes_before_elf() {
    let (multiboot, elf) = (fmt_multiboot::FORMAT, fmt_elf::FORMAT);
    assert_eq!(
        (multiboot.name(), multiboot.priority().value()),
        ("multiboot", 70)
    );
    assert!(multiboot.priority() < elf.priority());
}

#[test]
fn errors_name_the_format() {
    let bytes = file(64, 0, &v1(3, &[]));
    match detect(&[&fmt_elf::FORMAT, &fmt_multiboot::FORMAT], &bytes) {
        Err(DetectError::Format(error)) => {
            assert_eq!(error.to_string(), "the multiboot image is not supported");
        }
        other => panic!("{other:?}"),
    }
}

#[cfg(feature = "registry")]
#[test]
fn the_format_is_registered_under_its_name() {
    let formats = boot_core::registry::formats().unwrap();
    assert!(formats.iter().any(|format| format.name() == "multiboot"));
}
