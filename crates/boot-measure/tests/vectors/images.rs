//! Generated PE files.

use std::fs;
use std::path::Path;

use boot_core::SizedSource;
use fmt_pe::pe::PeFile;
use fmt_test::pe::{AMD64, Pe, SECTION_TABLE};

use crate::inputs::bytes;

/// The sections of the unified kernel image, apart from the kernel: as in `pcr.py`.
pub(crate) const SECTIONS: [(&str, usize, usize); 10] = [
    (".osrel", 300, 10),
    (".cmdline", 40, 11),
    (".initrd", 9001, 12),
    (".ucode", 1000, 13),
    (".splash", 777, 14),
    (".dtb", 640, 15),
    (".uname", 12, 16),
    (".sbat", 90, 17),
    (".pcrpkey", 451, 18),
    (".hwids", 128, 19),
];

/// A kernel: a PE file.
pub(crate) fn kernel() -> Vec<u8> {
    Pe::new(AMD64).section(".data", bytes(5000, 20)).build()
}

/// A unified kernel image, with sections in another order than they are measured in.
pub(crate) fn uki() -> Vec<u8> {
    let uki = Pe::new(AMD64).section(".pcrsig", bytes(99, 21));
    let sections = SECTIONS.iter().rev();
    let uki = sections.fold(uki, |uki, (name, len, seed)| {
        // The name in the section table has eight bytes.
        uki.section(name, bytes(*len, *seed))
    });
    uki.section(".linux", kernel()).build()
}

/// Two profiles with command lines of their own, of which the second has an initrd too.
pub(crate) fn profiles() -> Vec<u8> {
    Pe::new(AMD64)
        .section(".linux", kernel())
        .section(".cmdline", bytes(40, 11))
        .section(".initrd", bytes(9001, 12))
        .section(".profile", bytes(30, 30))
        .section(".cmdline", bytes(41, 31))
        .section(".profile", bytes(30, 32))
        .section(".cmdline", bytes(42, 33))
        .section(".initrd", bytes(500, 34))
        .section(".cmdline", bytes(42, 35))
        .build()
}

/// The image with what signing adds: a certificate table of 64 bytes at the end, aligned to 8 bytes, and its location.
pub(crate) fn signed() -> Vec<u8> {
    let mut file = uki();
    file.resize(file.len().next_multiple_of(8), 0);
    let table = u32::try_from(file.len()).unwrap();
    let mut certificate = bytes(64, 40);
    certificate[..8].copy_from_slice(&[64, 0, 0, 0, 0, 2, 2, 0]);
    file.extend_from_slice(&certificate);
    // The data directories end at the section table; there are 16.
    let entry = SECTION_TABLE - 16 * 8 + 4 * 8;
    file[entry..entry + 4].copy_from_slice(&table.to_le_bytes());
    file[entry + 4..entry + 8].copy_from_slice(&64_u32.to_le_bytes());
    file
}

/// Writes the files for `pcr.py`, if the variable names a directory.
#[test]
fn images_are_pe_files() {
    let dir = std::env::var_os("BOOT_MEASURE_INPUTS");
    let files = [
        ("kernel.efi", kernel()),
        ("uki.efi", uki()),
        ("signed.efi", signed()),
    ];
    for (name, content) in files {
        let source = SizedSource::new(&content).unwrap();
        assert!(PeFile::parse(source).unwrap().is_some(), "{name}");
        if let Some(dir) = &dir {
            fs::write(Path::new(dir).join(name), content).unwrap();
        }
    }
}
