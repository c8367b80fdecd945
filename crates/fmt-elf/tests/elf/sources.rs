//! Number and size of reads, sources that fail, programs of the host.

use std::error::Error;

use boot_core::{FormatErrorKind, KernelFormat, ReadError};
use fmt_test::TestSource;

use fmt_test::elf::*;

/// A kernel whose one segment takes `filesz` bytes from the file, of which the first sixteen are written.
fn big_kernel(filesz: u64) -> Vec<u8> {
    let elf = Elf::new(
        EM_X86_64,
        0x10_0000,
        vec![
            notes(&note(4, "Xen", 18, &words(&[0x10_0000])), 4),
            load(0x10_0000, &[0x90; 16], filesz),
        ],
    );
    let mut bytes = elf.bytes();
    let p_filesz = 64 + 56 + 32;
    bytes[p_filesz..p_filesz + 8].copy_from_slice(&filesz.to_le_bytes());
    bytes
}

#[test]
fn a_gigabyte_costs_a_handful_of_small_reads() {
    const LEN: u64 = 1 << 30;
    let source = TestSource::new(big_kernel(LEN - 0x1000)).sparse(LEN);
    let image = fmt_elf::parse(&source).unwrap().unwrap();
    assert_eq!(image.segments()[0].source.len(), LEN - 0x1000);
    assert_eq!(image.entries().len(), 2);
    // The ELF header, the program headers, the note's header, its name and its descriptor.
    assert_eq!(source.reads(), 5);
    assert_eq!(source.bytes_read(), 64 + 2 * 56 + 12 + 4 + 4);
}

#[test]
fn every_failing_read_is_an_error() {
    let new = || TestSource::new(big_kernel(0x1000)).sparse(0x2000);
    // The length and five reads.
    assert!(fmt_elf::parse(&new().failing_after(6)).unwrap().is_some());
    for operations in 0..6 {
        let source = new().failing_after(operations);
        let error = fmt_elf::FORMAT.parse(&source).unwrap_err();
        assert_eq!(error.kind, FormatErrorKind::Read);
        assert_eq!(error.to_string(), "the elf file cannot be read");
        let source = error.source().and_then(Error::source).unwrap();
        assert!(source.downcast_ref::<ReadError>().is_some(), "{source}");
    }
}

#[test]
fn the_plugin_separates_malformed_from_unsupported() {
    let kind = |bytes: &[u8]| fmt_elf::FORMAT.parse(&bytes).map_err(|error| error.kind);
    let good = big_kernel(16);
    assert_eq!(fmt_elf::FORMAT.name(), "elf");
    assert_eq!(kind(&good).unwrap().unwrap().format(), "elf");
    assert_eq!(kind(b"no ELF file").unwrap(), None);
    assert_eq!(kind(&good[..32]), Err(FormatErrorKind::Malformed));
    let mut object = good;
    object[16] = 1;
    assert_eq!(kind(&object), Err(FormatErrorKind::Unsupported));
}

/// This test itself is such a program.
#[cfg(all(unix, target_env = "gnu", feature = "std"))]
#[test]
fn a_user_program_is_refused() {
    let program = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let error = fmt_elf::FORMAT.parse(&program).unwrap_err();
    assert_eq!(error.kind, FormatErrorKind::Unsupported);
    let text = error.source().unwrap().to_string();
    assert!(
        text.starts_with("a dynamically linked user program, not a kernel"),
        "{text}"
    );
}

#[cfg(feature = "registry")]
#[test]
fn the_format_is_registered() {
    let formats = boot_core::registry::formats().unwrap();
    let names: Vec<_> = formats.iter().map(|format| format.name()).collect();
    assert_eq!(names, ["elf"]);
}
