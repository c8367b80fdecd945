//! The format as a plugin.

use boot_core::{DetectError, FormatErrorKind, KernelFormat, detect};
use fmt_test::TestSource;

use crate::layouts::with_addresses;
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
            assert_eq!(error.to_string(), "the multiboot file is not supported");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_failing_read_is_an_error() {
    // The header has load addresses, so invalid ELF headers are not an error.
    let new = || TestSource::new(with_addresses(&[], |_| {}));
    let parse = |operations| fmt_multiboot::parse(&new().failing_after(operations));
    let enough = (0..64).find(|operations| parse(*operations).is_ok()).unwrap();
    // At least the lengths and the first 32 KiB for both parsers, the ELF header and the program headers.
    assert!(enough >= 6, "{enough}");
    let image = parse(enough).unwrap().unwrap();
    assert_eq!(image.entries().len(), 2);
    for operations in 0..enough {
        let error = parse(operations).unwrap_err();
        assert_eq!(error.kind(), FormatErrorKind::Read, "{operations}: {error}");
    }
}

#[cfg(feature = "registry")]
#[test]
fn the_format_is_registered_under_its_name() {
    let formats = boot_core::registry::formats().unwrap();
    assert!(formats.iter().any(|format| format.name() == "multiboot"));
}
