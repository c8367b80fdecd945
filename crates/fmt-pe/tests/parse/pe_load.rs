//! Loading of PE32+ images.

use std::fmt::Write;

use boot_core::SizedSource;
use fmt_pe::pe::load::{ImageLayout, LoadError};
use fmt_pe::pe::{PeError, PeFile};
use fmt_test::{Fields, TestSource};

use crate::file_writer::{File, PE_LEN, offset, pe_samples};
use crate::pe_load_invariants;

/// `ImageBase` of [`File::pe`].
const BASE: u64 = 0x1_4000_0000;

fn layout_of(file: &[u8]) -> Result<ImageLayout, LoadError> {
    let pe = PeFile::parse(SizedSource::new(&file).unwrap()).unwrap().unwrap();
    ImageLayout::new(&pe)
}

/// Checks the layout, one property per line, or the error.
#[track_caller]
fn check(file: File, expected: &str) {
    let file = file.build();
    for address in [BASE, 0x10_0000, 0x7000, u64::MAX - 0xfff] {
        pe_load_invariants::check(&file, address);
    }
    let found = match layout_of(&file) {
        Ok(layout) => summary(&layout),
        Err(error) => format!("{:?}: {error}", error.kind()),
    };
    let found: Vec<&str> = found.lines().collect();
    let expected: Vec<&str> = expected.lines().map(str::trim).collect();
    assert_eq!(found, expected);
}

fn summary(layout: &ImageLayout) -> String {
    let mut out = format!("{} for {}", layout.subsystem, layout.machine);
    if layout.is_nx_compatible {
        out.push_str(", NX");
    }
    if let Some(address) = layout.required_address {
        write!(out, ", only at {address:#x}").unwrap();
    }
    write!(out, "\nentry {:#x}", layout.entry).unwrap();
    for region in &layout.regions {
        let note = if region.permissions.is_writable_code() {
            " both"
        } else {
            ""
        };
        write!(out, "\n{} {}{note}", region.range, region.permissions).unwrap();
    }
    out
}

#[test]
fn layouts() {
    check(
        File::pe(),
        "EFI application for arm64, NX
         entry 0x1000
         0x0..0x1000 r--
         0x1000..0x2000 r-x
         0x2000..0x3000 rw-
         0x3000..0x4000 r--",
    );
    check(
        File::pe()
            .u16(offset::SUBSYSTEM, 12)
            .u16(offset::MACHINE, 0x8664)
            .u16(offset::SUBSYSTEM + 2, 0)
            .u16(offset::CHARACTERISTICS, 1)
            .u32(offset::SIZE_OF_IMAGE, 0x5a00)
            .section(offset::DATA, ".data", [0x10, 0x4000, 0x10, 0x400], 0xe000_0040),
        "EFI runtime driver for x86_64, only at 0x140000000
         entry 0x1000
         0x0..0x1000 r--
         0x1000..0x2000 r-x
         0x2000..0x3000 r--
         0x3000..0x4000 r--
         0x4000..0x5000 rwx both
         0x5000..0x5a00 r--",
    );
    // Sections that share pages cannot be protected.
    check(
        File::pe()
            .u16(offset::SUBSYSTEM, 11)
            .u32(offset::SECTION_ALIGNMENT, 0x200)
            .section(offset::DATA, ".data", [0x200, 0x1200, 0x200, 0x400], 0xc000_0040)
            .section(offset::TEXT, ".text", [0x200, 0x1000, 0x200, 0x200], 0x6000_0020),
        "EFI boot service driver for arm64, NX
         entry 0x1000
         0x0..0x4000 rwx both",
    );
}

#[test]
fn refused_images() {
    check(
        File::pe32(),
        "Unsupported: the image is a 32-bit PE32 image for x86; only PE32+ can be loaded",
    );
    check(
        File::pe().u16(offset::SUBSYSTEM, 3),
        "Unsupported: the image is no EFI application or driver, but a program of another kind: Windows console program",
    );
    check(
        File::pe().u16(offset::SUBSYSTEM, 13),
        "Unsupported: the image is no EFI application or driver, but a program of another kind: EFI ROM image",
    );
    check(
        File::pe().u32(offset::ENTRY, 0),
        "Malformed: the image has no entry point: AddressOfEntryPoint is 0",
    );
    for (entry, place) in [
        (0x100, "in no section"),
        (0x1180, "in no section"),
        (0x2fff, "in the section \".data\", which is not executable"),
    ] {
        check(
            File::pe().u32(offset::ENTRY, entry),
            &format!("Malformed: the entry point at RVA {entry:#x} is {place}"),
        );
    }
}

/// The error of loading the file at an address.
fn load_error(file: File, address: u64) -> String {
    let file = file.build();
    let pe = PeFile::parse(SizedSource::new(&file).unwrap()).unwrap().unwrap();
    let mut memory = vec![0xa5; 0x4000];
    let result = ImageLayout::new(&pe).unwrap().load(&pe, &mut memory, address);
    result.unwrap_err().to_string()
}

#[test]
fn refused_loads() {
    assert_eq!(
        load_error(File::pe(), 0x800),
        "an image of 0x4000 bytes cannot be loaded at 0x800; the address must be a multiple of 0x1000 and the end below 2^64"
    );
    assert_eq!(
        load_error(File::pe(), u64::MAX - 0xfff),
        "an image of 0x4000 bytes cannot be loaded at 0xfffffffffffff000; the address must be a multiple of 0x1000 and the end below 2^64"
    );
    assert_eq!(
        load_error(File::pe().u16(offset::CHARACTERISTICS, 1), 0x1000),
        "the image cannot be loaded at 0x1000: its base relocations were stripped, so it must be loaded at 0x140000000"
    );
    // The field at 0x2ff0 is 0: it would be ImageBase and 4 KiB more.
    assert_eq!(
        load_error(File::pe(), BASE + (5 << 30)),
        "the HIGHLOW base relocation of the field at RVA 0x2ff0 has the result 0x140000000, which exceeds 32 bits; the image must be loaded below 4 GiB"
    );
    // A size of zero would make a careless loader loop for ever.
    assert_eq!(
        load_error(File::pe().u32(offset::BLOCK + 4, 0), BASE),
        "the block of base relocations at RVA 0x3000 has a size of 0x0 bytes; it must be even, at least 8, and not exceed the table, which ends at 0x3014"
    );
}

#[test]
fn relocations() {
    let file = File::pe()
        .block(0, 0x2000, &[0xa000, 0x3010, 0x1020, 0x2028, 0, 0])
        .u64(0x400, BASE + 0x1234)
        .u32(0x410, 0xffff_0000)
        .u16(0x420, 0x0001)
        .u16(0x428, 0xffff)
        .build();
    let pe = PeFile::parse(SizedSource::new(&file).unwrap()).unwrap().unwrap();
    let mut memory = vec![0xa5; 0x4000];
    // The delta is -0x1000.
    ImageLayout::new(&pe)
        .unwrap()
        .load(&pe, &mut memory, BASE - 0x1000)
        .unwrap();
    assert_eq!(memory[0x2000..0x2008], (BASE + 0x234).to_le_bytes());
    assert_eq!(memory[0x2010..0x2014], 0xfffe_f000_u32.to_le_bytes());
    assert_eq!(memory[0x2020..0x2022], 0_u16.to_le_bytes());
    assert_eq!(memory[0x2028..0x202a], 0xefff_u16.to_le_bytes());
    // The end of .text, and the pages between the sections.
    assert!(memory[0x1180..0x2000].iter().all(|byte| *byte == 0));
    assert!(memory[0x2200..0x3000].iter().all(|byte| *byte == 0));
    assert!(memory[0x3014..0x4000].iter().all(|byte| *byte == 0));
}

#[test]
fn samples_load_like_the_model() {
    let loaded: Vec<&str> = pe_samples()
        .iter()
        .filter(|(_, file)| pe_load_invariants::check(file, 0x20_0000))
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(loaded.len(), 13, "{loaded:?}");
}

#[test]
fn read_errors_are_reported_and_reads_are_few() {
    let file = File::pe().build();
    let parses = |source: &TestSource| {
        PeFile::parse(SizedSource::new(source).unwrap())
            .unwrap()
            .is_some()
    };
    let source = TestSource::new(file.clone());
    assert!(parses(&source));
    let (reads, mut memory) = (source.reads(), vec![0; 0x4000]);
    let load = |source: &TestSource, memory: &mut [u8]| {
        let pe = PeFile::parse(SizedSource::new(source).unwrap()).unwrap().unwrap();
        ImageLayout::new(&pe).unwrap().load(&pe, memory, BASE)
    };
    load(&source, &mut memory).unwrap();
    // Headers, three sections, one block of relocations: its header and its entries.
    assert_eq!(source.reads() - 2 * reads, 6);
    for operations in 0..6 {
        let limit = 1 + u32::try_from(reads).unwrap() + operations;
        let failing = TestSource::new(file.clone()).failing_after(limit);
        let error = load(&failing, &mut memory).unwrap_err();
        assert!(matches!(error, LoadError::Pe(PeError::Read(_))), "{error}");
    }
    let shrunk = TestSource::new(file).shrunk_to(PE_LEN - 0x300);
    assert!(load(&shrunk, &mut memory).is_err());
}
