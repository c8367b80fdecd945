//! One file of each way to a plan.

use std::fs::File;
use std::io::Write as _;

use fmt_test::Fields as _;
use fmt_test::elf::{EM_X86_64, Elf, load, note, notes, words};
use fmt_test::pe::{AMD64, Pe};
use libtest_mimic::Failed;

/// A file, and the number of protocols that boot it.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) file: Vec<u8>,
    pub(crate) protocols: usize,
}

/// Bytes that differ from each other.
fn code(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// A kernel with a note, two segments and zeros.
fn elf() -> Vec<u8> {
    let parts = vec![
        notes(&note(4, "Xen", 18, &words(&[0x10_0010])), 4),
        load(0x10_0000, &code(0x1800), 0x1800),
        load(0x20_0000, &code(0x123), 0x4000),
    ];
    Elf::new(EM_X86_64, 0x10_0000, parts).bytes()
}

/// A bzImage of boot protocol 2.12.
fn bzimage() -> Vec<u8> {
    vec![0; 0x400]
        .u8(0x1f1, 1)
        .u32(0x1f4, 0x200)
        .u16(0x1fe, 0xaa55)
        .bytes(0x200, b"\xeb\x66HdrS")
        .u16(0x206, 0x20c)
        .u8(0x211, 1)
        .u32(0x214, 0x10_0000)
        .u32(0x22c, 0x7fff_ffff)
        .u32(0x230, 0x20_0000)
        .bytes(0x234, &[1, 21, 3, 0])
        .u32(0x238, 2047)
        .u64(0x258, 0x100_0000)
        .u32(0x260, 0x10_0000)
        .into_iter()
        .chain(code(0x2000))
        .collect()
}

fn arm64() -> Vec<u8> {
    code(0x3000)
        .bytes(0, &[0; 64])
        .u32(0, 0x1400_0010)
        .u64(0x10, 0x20_0000)
        .u64(0x18, 0b1010)
        .bytes(0x38, b"ARM\x64")
}

fn riscv() -> Vec<u8> {
    code(0x3000)
        .bytes(0, &[0; 64])
        .u32(0, 0x0400_006f)
        .u64(8, 0x20_0000)
        .u64(0x10, 0x30_0000)
        .u32(0x20, 2)
        .bytes(0x30, b"RISCV\0\0\0")
        .bytes(0x38, b"RSC\x05")
}

/// A Multiboot header with addresses, at the start of a file.
fn multiboot() -> Vec<u8> {
    let (magic, flags) = (0x1bad_b002_u32, 0x1_0003_u32);
    let words_of_header = [
        magic,
        flags,
        magic.wrapping_add(flags).wrapping_neg(),
        0x10_0000,
        0x10_0000,
        0,
        0x10_5000,
        0x10_0020,
    ];
    code(0x2000).bytes(0, &words(&words_of_header))
}

/// Data as gzip stores them, without compression.
fn gzip(data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    let lens = [len.to_le_bytes(), (!len).to_le_bytes()].concat();
    let end = [crc32fast::hash(data).to_le_bytes(), u32::from(len).to_le_bytes()].concat();
    [b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01", &lens[..], data, &end[..]].concat()
}

/// All files.
pub(crate) fn all() -> Vec<Sample> {
    let sample = |name, file, protocols| Sample {
        name,
        file,
        protocols,
    };
    let uki = Pe::new(AMD64)
        .section(".linux", elf())
        .section(".cmdline", "quiet")
        .build();
    let packed = gzip(&arm64());
    let header = vec![0; 64]
        .bytes(0, b"MZ")
        .bytes(4, b"zimg")
        .u32(8, 64)
        .u32(12, u32::try_from(packed.len()).unwrap())
        .bytes(24, b"gzip");
    let zboot = [header, packed].concat();
    vec![
        sample("ELF", elf(), 2),
        sample("bzImage", bzimage(), 1),
        sample("arm64 Image", arm64(), 1),
        sample("riscv64 Image", riscv(), 1),
        sample("Multiboot", multiboot(), 1),
        sample("gzip", gzip(&bzimage()), 1),
        sample("zboot", zboot, 1),
        sample("unified kernel image", uki, 2),
    ]
}

/// An unnamed file with these bytes.
pub(crate) fn write(bytes: &[u8]) -> Result<File, Failed> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    Ok(file)
}
