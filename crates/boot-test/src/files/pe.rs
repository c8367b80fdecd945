//! Unified kernel images.

use arbitrary::{Result, Unstructured};
use fmt_test::pe::{AMD64, ARM64, Pe, RISCV64, SECTION_HEADER_LEN, SECTION_TABLE};

use super::draft::Draft;
use super::{bzimage, elf, image};
use crate::odds::pick;

/// Offset and length of fields of the headers.
const FIELDS: [(usize, usize); 15] = [
    (0, 2),
    (0x3c, 4),
    (0x80, 4),
    (0x84, 2),
    (0x86, 2),
    (0x94, 2),
    (0x96, 2),
    (0x98, 2),
    (0xa8, 4),
    (0xb8, 4),
    (0xbc, 4),
    (0xd0, 4),
    (0xd4, 4),
    (0xdc, 2),
    (0x104, 4),
];

/// An image with a generated kernel, sections that it needs and some that it does not need.
pub(super) fn file(u: &mut Unstructured<'_>) -> Result<Draft> {
    let (machine, kernel) = match u.int_in_range(0..=3u8)? {
        0 => (AMD64, bzimage::file(u)?),
        1 => (AMD64, elf::file(u)?),
        2 => (ARM64, image::arm64(u)?),
        _ => (RISCV64, image::riscv(u)?),
    };
    let mut pe = Pe::new(machine);
    let mut count = 2;
    let before = u.int_in_range(0..=3u8)?;
    for index in 0..u.int_in_range(before + 1..=7)? {
        if index == before {
            pe = pe.section(".linux", &kernel.bytes);
        }
        let (name, text) = pick(
            u,
            &[
                (".osrel", "ID=made\nVERSION_ID=1\n"),
                (".cmdline", "root=/dev/vda quiet"),
                (".uname", "6.12.9"),
                (".initrd", "an initrd"),
                (".sbat", "sbat,1\n"),
                (".profile", "ID=second\n"),
                (".dtb", ""),
            ],
        )?;
        pe = pe.section(name, text);
        count += 1;
    }
    let bytes = pe.build();
    let mut fields = FIELDS.to_vec();
    for section in 0..count {
        let at = SECTION_TABLE + section * SECTION_HEADER_LEN;
        fields.extend([
            (at, 8),
            (at + 8, 4),
            (at + 12, 4),
            (at + 16, 4),
            (at + 20, 4),
            (at + 36, 4),
        ]);
    }
    Ok(Draft {
        bytes,
        fields,
        is_big_endian: false,
    })
}
