//! bzImages of every boot protocol version (Linux `Documentation/arch/x86/boot.rst`).

use arbitrary::{Result, Unstructured};
use fmt_test::Fields as _;

use super::draft::{Draft, content};
use crate::odds::{number, one_in, pick};

/// Versions with the end of their headers.
const VERSIONS: [(u16, usize); 10] = [
    (0x20f, 0x26c),
    (0x20c, 0x268),
    (0x20d, 0x268),
    (0x20b, 0x268),
    (0x20a, 0x264),
    (0x209, 0x258),
    (0x208, 0x250),
    (0x206, 0x23c),
    (0x205, 0x235),
    (0x203, 0x230),
];

/// Offset and length of each field of the setup header.
const FIELDS: [(usize, usize); 37] = [
    (0x1f1, 1),
    (0x1f2, 2),
    (0x1f4, 4),
    (0x1fe, 2),
    (0x200, 2),
    (0x201, 1),
    (0x202, 4),
    (0x206, 2),
    (0x208, 4),
    (0x20e, 2),
    (0x210, 1),
    (0x211, 1),
    (0x212, 2),
    (0x214, 4),
    (0x218, 4),
    (0x21c, 4),
    (0x220, 4),
    (0x224, 2),
    (0x226, 1),
    (0x227, 1),
    (0x228, 4),
    (0x22c, 4),
    (0x230, 4),
    (0x234, 1),
    (0x235, 1),
    (0x236, 2),
    (0x238, 4),
    (0x23c, 4),
    (0x240, 8),
    (0x248, 4),
    (0x24c, 4),
    (0x250, 8),
    (0x258, 8),
    (0x260, 4),
    (0x264, 4),
    (0x268, 4),
    (0x3c, 4),
];

/// A kernel whose sizes are those of its parts.
pub(super) fn file(u: &mut Unstructured<'_>) -> Result<Draft> {
    let (version, header_end) = pick(u, &VERSIONS)?;
    let sectors = u.int_in_range(1..=6u8)?;
    let setup = (usize::from(sectors) + 1) * 512;
    let len = 0x400 + usize::from(u.arbitrary::<u8>()?) * 16;
    let code = content(u, len)?;
    let len = u32::try_from(len).unwrap_or(0x400);
    let align_bits = u.int_in_range(12..=24u8)?;
    let is_relocatable = !one_in(u, 4)?;
    let init_size = len + u32::try_from(number(u, 22)?).unwrap_or(0);
    let preferred = pick(u, &[0x100_0000, 0x10_0000, 0x20_0000])?;
    let payload = u.int_in_range(0..=len / 2)?;
    let mut file = vec![0; setup]
        .u8(0x1f1, sectors)
        .u32(0x1f4, len / 16)
        .u16(0x1fe, 0xaa55)
        .u8(0x200, 0xeb)
        .u8(0x201, u8::try_from(header_end - 0x202).unwrap_or(0x6a))
        .bytes(0x202, b"HdrS")
        .u16(0x206, version)
        .u8(0x211, 1)
        .u32(0x214, 0x10_0000)
        .u32(0x22c, pick(u, &[0x7fff_ffff, 0x37ff_ffff])?)
        .u32(0x230, 1 << align_bits)
        .u8(0x234, u8::from(is_relocatable))
        .u8(0x235, u.int_in_range(12..=align_bits)?)
        .u16(0x236, pick(u, &[3, 1, 0x3f, 0])?)
        .u32(0x238, pick(u, &[2047, 255])?)
        .u32(0x248, payload)
        .u32(0x24c, u.int_in_range(0..=len - payload)?)
        .u64(0x258, preferred)
        .u32(0x260, init_size)
        .u32(0x264, 0x190);
    if one_in(u, 2)? {
        file = file.bytes(0, b"MZ").u32(0x3c, 0x40).bytes(0x40, b"PE\0\0");
    }
    // What is behind the header is code.
    file[header_end..].fill(0xcc);
    file.extend_from_slice(&code);
    let mut fields = FIELDS.to_vec();
    if version == 0x20f {
        let info = 0x100;
        let at = setup + usize::try_from(info).unwrap_or_default();
        file = file
            .u32(0x268, info)
            .bytes(at, b"LToP")
            .u32(at + 4, 16)
            .u32(at + 8, 16);
        fields.extend((at..at + 16).step_by(4).map(|at| (at, 4)));
    }
    // What a kernel has behind its code, such as a signature.
    let behind = usize::from(one_in(u, 4)?) * 100;
    file.extend(vec![0x77; behind]);
    Ok(Draft {
        bytes: file,
        fields,
        is_big_endian: false,
    })
}
