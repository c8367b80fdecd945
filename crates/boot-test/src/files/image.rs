//! `Image` files of arm64 and riscv64.

use arbitrary::{Result, Unstructured};
use fmt_test::Fields as _;

use super::draft::{Draft, content};
use crate::odds::{number, one_in, pick};

/// Offset and length of each field of the header.
const FIELDS: [(usize, usize); 11] = [
    (0, 4),
    (4, 4),
    (8, 8),
    (16, 8),
    (24, 8),
    (32, 4),
    (36, 4),
    (40, 8),
    (48, 8),
    (56, 4),
    (60, 4),
];

fn code(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let len = 0x40 + usize::from(u.arbitrary::<u8>()?) * 8;
    Ok(content(u, len)?.bytes(0, &[0; 64]))
}

/// An arm64 kernel of any page size and byte order (`Documentation/arch/arm64/booting.rst`).
pub(super) fn arm64(u: &mut Unstructured<'_>) -> Result<Draft> {
    let file = code(u)?;
    let is_old = one_in(u, 8)?;
    let size = if is_old {
        0
    } else {
        file.len() as u64 + number(u, 24)?
    };
    let offset = if is_old {
        0x8_0000
    } else {
        pick(u, &[0, 0, 0x8_0000, 0x20_0000])?
    };
    let flags = pick(u, &[0b1010, 0b1010, 0b0010, 0b1100, 0b1110, 0b1011])?;
    let bytes = file
        .u32(0, 0x1400_0010)
        .u64(8, offset)
        .u64(16, size)
        .u64(24, if is_old { 0 } else { flags })
        .bytes(56, b"ARM\x64");
    Ok(Draft {
        bytes,
        fields: FIELDS.to_vec(),
        is_big_endian: false,
    })
}

/// A riscv64 kernel (`Documentation/arch/riscv/boot-image-header.rst`).
pub(super) fn riscv(u: &mut Unstructured<'_>) -> Result<Draft> {
    let file = code(u)?;
    let size = file.len() as u64 + number(u, 24)?;
    let version = pick(u, &[2, 2, 1])?;
    let magic2: &[u8] = if version == 1 { &[0; 4] } else { b"RSC\x05" };
    let bytes = file
        .u32(0, 0x0400_006f)
        .u64(8, pick(u, &[0x20_0000, 0, 0x40_0000])?)
        .u64(16, size)
        .u32(32, version)
        .bytes(48, b"RISCV\0\0\0")
        .bytes(56, magic2);
    Ok(Draft {
        bytes,
        fields: FIELDS.to_vec(),
        is_big_endian: false,
    })
}
