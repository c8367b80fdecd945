//! Bombs: short files that unpack to more than there is room for; and cycles: files that contain themselves.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use fmt_test::Fields as _;
use fmt_test::pe::{AMD64, Pe, SECTION_HEADER_LEN, SECTION_TABLE};

use super::wrapped::{fit, kernel, uimage, zboot};
use crate::bzimage_writer::{Image, SETUP_LEN};
use crate::change::{Base, Sink};

/// Lengths that the bombs unpack to: around the limit of a layer, and far above it.
const LENS: [usize; 5] = [(8 << 20) - 1, 8 << 20, (8 << 20) + 1, 64 << 20, 128 << 20];

/// Zeros, as deflate packs them.
fn gzip_zeros(len: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let block = vec![0; 1 << 20];
    let mut left = len;
    while left > 0 {
        let take = left.min(block.len());
        encoder.write_all(&block[..take]).unwrap();
        left -= take;
    }
    encoder.finish().unwrap()
}

/// A frame of zstd with blocks of one repeated byte (RFC 8878, section 3.1.1.2), each of 128 KiB at most, in a window of 128 KiB.
fn zstd_zeros(len: usize) -> Vec<u8> {
    const BLOCK: usize = 128 << 10;
    let mut frame = b"\x28\xb5\x2f\xfd\x00\x38".to_vec();
    let mut left = len;
    while left > 0 {
        let take = left.min(BLOCK);
        left -= take;
        let header = u32::from(left == 0) | 1 << 1 | u32::try_from(take).unwrap() << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

/// Blocks of legacy LZ4 (`lz4_Block_format.md`), each of one literal and a match with the largest length that the block may have. What a block of that
/// kind is too long for is a block of literals.
fn lz4_zeros(len: usize) -> Vec<u8> {
    const BLOCK: usize = 8 << 20;
    let mut frame = b"\x02\x21\x4c\x18".to_vec();
    let mut left = len;
    while left > 0 {
        let take = left.min(BLOCK);
        left -= take;
        if take < 64 {
            let literals = vec![0; take.min(14)];
            frame.extend_from_slice(&u32::try_from(literals.len() + 1).unwrap().to_le_bytes());
            frame.push(u8::try_from(literals.len() << 4).unwrap());
            frame.extend_from_slice(&literals);
            continue;
        }
        // One literal, a match at distance 1, and five literals at the end.
        let match_len = take - 6;
        let mut block = b"\x1f\0\x01\0".to_vec();
        let rest = match_len - 4 - 15;
        block.extend(std::iter::repeat_n(255, rest / 255));
        block.push(u8::try_from(rest % 255).unwrap());
        block.extend_from_slice(b"\x50\0\0\0\0\0");
        frame.extend_from_slice(&u32::try_from(block.len()).unwrap().to_le_bytes());
        frame.extend_from_slice(&block);
    }
    frame
}

/// All files.
pub(crate) fn make(sink: &mut Sink<'_>) {
    for len in LENS {
        let gzip = gzip_zeros(len);
        for (name, bomb) in [
            ("zstd", zstd_zeros(len)),
            ("lz4", lz4_zeros(len)),
            ("gzip", gzip.clone()),
        ] {
            sink(&format!("{name} bomb of {len}"), bomb.clone());
            sink(&format!("{name} bomb of {len} in a uImage"), uimage(0, &bomb));
            let fit = fit(&[("compression", b"none\0"), ("data", &bomb)]);
            sink(&format!("{name} bomb of {len} in a FIT image"), fit);
        }
        sink(&format!("gzip bomb of {len} in zboot"), zboot(b"gzip", &gzip));
        let mut twice = GzEncoder::new(Vec::new(), Compression::fast());
        twice.write_all(&gzip).unwrap();
        sink(&format!("gzip bomb of {len} in gzip"), twice.finish().unwrap());
        let mut members = gzip.clone();
        (0..7).for_each(|_| members.extend_from_slice(&gzip_zeros(1 << 20)));
        sink(&format!("gzip bomb of {len} and seven more"), members);
        sink(&format!("gzip bomb of {len} in a bzImage"), in_bzimage(&gzip));
    }
    claims(sink);
    cycles(sink);
}

/// A bzImage with this payload.
fn in_bzimage(payload: &[u8]) -> Vec<u8> {
    let code = (0x400 + payload.len()).next_multiple_of(16);
    let [len, paragraphs] = [payload.len(), code / 16].map(|len| u32::try_from(len).unwrap());
    Image::new(0x20c)
        .resize(SETUP_LEN + code)
        .u32(0x1f4, paragraphs)
        .u32(0x24c, len)
        .code(0x400, payload)
        .build()
}

/// Headers that claim a large content, window or dictionary, and have almost none.
fn claims(sink: &mut Sink<'_>) {
    // zstd: each window (RFC 8878, section 3.1.1.1.2), and each length of the content, with one block of one byte.
    for window in 0..=255 {
        sink(
            &format!("zstd window {window:#x}"),
            [b"\x28\xb5\x2f\xfd\0", &[window, 0x0b, 0, 0, 0][..]].concat(),
        );
    }
    for len in [
        0,
        1,
        2,
        1 << 20,
        1 << 31,
        1 << 32,
        1 << 40,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ] {
        for flags in [0xc0, 0xe0] {
            let window: &[u8] = if flags == 0xc0 { b"\x38" } else { b"" };
            let header = [b"\x28\xb5\x2f\xfd", &[flags][..], window, &len.to_le_bytes()];
            sink(
                &format!("zstd content {len:#x} {flags:#x}"),
                [&header.concat()[..], b"\x0b\0\0\0"].concat(),
            );
        }
    }
    // xz: each dictionary (xz-file-format, section 5.3.1). The checksum of the block header is that of the changed one.
    let xz = b"\xfd\x37\x7a\x58\x5a\0\0\x01\x69\x22\xde\x36\x02\0\x21\x01\x16\0\0\0\x74\x2f\xe5\xa3\x01\0\x03boot\0\
               \xc4\xae\xed\x46\0\x01\x18\x04\x6b\xe9\xf0\xa5\x90\x42\x99\x0d\x01\0\0\0\0\x01\x59\x5a";
    for dictionary in 0..=255 {
        let mut file = xz.to_vec();
        file[16] = dictionary;
        let crc = crc32fast::hash(&file[12..20]);
        file[20..24].copy_from_slice(&crc.to_le_bytes());
        sink(&format!("xz dictionary {dictionary}"), file);
    }
}

/// Files whose content is the file itself.
fn cycles(sink: &mut Sink<'_>) {
    let pe = Pe::new(AMD64).section(".linux", kernel()).build();
    let whole = u64::try_from(pe.len()).unwrap();
    let header = SECTION_TABLE + SECTION_HEADER_LEN;
    let (size, raw, pointer) = (
        ("virtual_size", header + 8, 4),
        ("raw", header + 16, 4),
        ("pointer", header + 20, 4),
    );
    let base = Base::new("uki in itself", &pe);
    for (offset, len) in [
        (0, whole),
        (1, whole - 1),
        (0x80, whole - 0x80),
        (0x200, whole - 0x200),
    ] {
        let (name, file) = base.with(&[(size, len), (raw, len), (pointer, offset)]);
        sink(&name, file);
    }
    let zboot = zboot(b"gzip", &kernel());
    let base = Base::new("zboot in itself", &zboot);
    let whole = zboot.len() as u64;
    for (offset, len) in [(0, whole), (1, whole - 1), (4, whole - 4)] {
        let fields = [(("offset", 8, 4), offset), (("size", 12, 4), len)];
        for codec in [
            *b"gzip\0\0\0\0",
            *b"lz4\0\0\0\0\0",
            *b"xzkern\0\0",
            *b"zstd22\0\0",
            *b"none\0\0\0\0",
        ] {
            let codec = (("codec", 24, 8), u64::from_le_bytes(codec));
            let (name, file) = base.with(&[fields[0], fields[1], codec]);
            sink(&name, file);
        }
    }
    // The tree is as long with each position and size.
    let external = |position: u32, size: u32| {
        fit(&[
            ("compression", b"none\0"),
            ("data-position", &position.to_be_bytes()),
            ("data-size", &size.to_be_bytes()),
        ])
    };
    let whole = u32::try_from(external(0, 0).len()).unwrap();
    for (position, size) in [
        (0, whole),
        (0, whole - 1),
        (1, whole - 1),
        (whole, 0),
        (whole, 1),
        (u32::MAX, whole),
    ] {
        sink(
            &format!("fit in itself {position} {size}"),
            external(position, size),
        );
    }
    // The payload of a bzImage is its own code, and its own payload field.
    let bzimage = Image::new(0x20f).build();
    let base = Base::new("bzimage in itself", &bzimage);
    for (offset, len) in [
        (0, 0x2000),
        (0, 0x1fff),
        (0x400, 0x1c00),
        (0x1fff, 1),
        (0x2000, 0),
    ] {
        let (name, file) = base.with(&[
            (("payload_offset", 0x248, 4), offset),
            (("payload_length", 0x24c, 4), len),
        ]);
        sink(&name, file);
    }
}
