//! Generated files: a kernel, and containers of it.

use std::fs;
use std::path::{Path, PathBuf};

/// Start and length of the segment of [`elf`] kernels.
pub(crate) const START: u64 = 0x20_0000;
const FILE_OFFSET: usize = 0x1000;

/// Writes `bytes` to a file in `dir`.
pub(crate) fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Puts `value` at `offset` and extends the file if necessary.
pub(crate) fn put(file: &mut Vec<u8>, offset: usize, value: &[u8]) {
    file.resize(file.len().max(offset + value.len()), 0);
    file[offset..offset + value.len()].copy_from_slice(value);
}

/// The length of `bytes` as a 32-bit number.
fn len32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

/// An x86_64 ELF kernel of one segment at `start`, and with a PVH note of this name.
pub(crate) fn elf(start: u64, note_name: &[u8]) -> Vec<u8> {
    let mut file = vec![0; FILE_OFFSET];
    put(&mut file, 0, b"\x7fELF\x02\x01\x01");
    put(&mut file, 16, &[2, 0, 62, 0, 1]);
    put(&mut file, 24, &start.to_le_bytes());
    put(&mut file, 32, &64_u64.to_le_bytes());
    put(&mut file, 52, &[64, 0, 56, 0, 2, 0]);
    let mut segment = |index: usize, kind: u32, words: [u64; 6]| {
        let at = 64 + 56 * index;
        put(&mut file, at, &kind.to_le_bytes());
        put(&mut file, at + 4, &5_u32.to_le_bytes());
        for (i, word) in words.iter().enumerate() {
            put(&mut file, at + 8 + 8 * i, &word.to_le_bytes());
        }
    };
    segment(0, 1, [FILE_OFFSET as u64, start, start, 0x1000, 0x2000, 0x1000]);
    segment(1, 4, [0x200, 0, 0, 20, 20, 4]);
    let entry = u32::try_from(start).unwrap();
    for (i, word) in [len32(note_name), 4, 18].iter().enumerate() {
        put(&mut file, 0x200 + 4 * i, &word.to_le_bytes());
    }
    put(&mut file, 0x20c, note_name);
    put(&mut file, 0x210, &entry.to_le_bytes());
    // Not zero, so that compressed and unpacked files differ in more than their lengths.
    for i in 0..0x1000_usize {
        put(&mut file, FILE_OFFSET + i, &[u8::try_from(i % 251).unwrap()]);
    }
    file
}

/// The kernel that containers have.
pub(crate) fn kernel() -> Vec<u8> {
    elf(START, b"Xen\0")
}

/// An arm64 `Image` that needs `image_size` bytes.
pub(crate) fn arm64_image(text_offset: u64, image_size: u64, flags: u64) -> Vec<u8> {
    let mut file = vec![0; 0x1000];
    put(&mut file, 0, &0x1400_0010_u32.to_le_bytes());
    for (offset, value) in [(8, text_offset), (16, image_size), (24, flags)] {
        put(&mut file, offset, &value.to_le_bytes());
    }
    put(&mut file, 56, b"ARM\x64");
    file
}

/// A riscv64 `Image` that needs `image_size` bytes.
pub(crate) fn riscv_image(text_offset: u64, image_size: u64) -> Vec<u8> {
    let mut file = vec![0; 0x1000];
    for (offset, value) in [(8, text_offset), (16, image_size)] {
        put(&mut file, offset, &value.to_le_bytes());
    }
    put(&mut file, 32, &2_u32.to_le_bytes());
    put(&mut file, 48, b"RISCV\0\0\0");
    put(&mut file, 56, b"RSC\x05");
    file
}

/// A bzImage of boot protocol 2.15.
pub(crate) fn bzimage() -> Vec<u8> {
    let mut file = vec![0; 0x400];
    for (offset, value) in [
        (0x1f1, &[1][..]),                 // setup_sects
        (0x1f4, &0x100_u32.to_le_bytes()), // syssize
        (0x1fe, &[0x55, 0xaa]),
        (0x200, b"\xeb\x6aHdrS"),
        (0x206, &[15, 2]),
        (0x211, &[1]),                           // loadflags: LOADED_HIGH
        (0x214, &0x10_0000_u32.to_le_bytes()),   // code32_start
        (0x22c, &0x7fff_ffff_u32.to_le_bytes()), // initrd_addr_max
        (0x230, &0x20_0000_u32.to_le_bytes()),   // kernel_alignment
        (0x234, &[1, 21]),                       // relocatable_kernel, min_alignment
        (0x236, &[1, 0]),                        // xloadflags: XLF_KERNEL_64
        (0x238, &2047_u32.to_le_bytes()),        // cmdline_size
        (0x258, &0x100_0000_u64.to_le_bytes()),  // pref_address
        (0x260, &0x10_0000_u32.to_le_bytes()),   // init_size
        (0x400, &[0x90; 0x1000]),
    ] {
        put(&mut file, offset, value);
    }
    file
}

/// A PE file for x86_64 EFI with one section.
fn pe(section: &[u8], content: &[u8]) -> Vec<u8> {
    pe_with(&[(section, content)])
}

/// A PE file for x86_64 EFI with sections of these names, of at most 8 bytes, and contents.
pub(crate) fn pe_with(sections: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut file = vec![0; 0x400];
    put(&mut file, 0, b"MZ");
    put(&mut file, 0x3c, &0x80_u32.to_le_bytes());
    put(&mut file, 0x80, b"PE\0\0");
    put(&mut file, 0x84, &0x8664_u16.to_le_bytes());
    put(
        &mut file,
        0x86,
        &u16::try_from(sections.len()).unwrap().to_le_bytes(),
    );
    put(&mut file, 0x94, &240_u16.to_le_bytes());
    put(&mut file, 0x96, &0x0206_u16.to_le_bytes());
    put(&mut file, 0x98, &0x20b_u16.to_le_bytes());
    put(&mut file, 0x98 + 68, &10_u16.to_le_bytes()); // Subsystem: EFI application
    let (mut address, mut offset) = (0x1000, 0x400);
    for (i, (name, content)) in sections.iter().enumerate() {
        let at = 0x98 + 240 + 40 * i;
        let raw = len32(content).next_multiple_of(0x200);
        put(&mut file, at, name);
        for (field, value) in [
            (8, len32(content)),
            (12, address),
            (16, raw),
            (20, offset),
            (36, 0x4000_0040),
        ] {
            put(&mut file, at + field, &u32::to_le_bytes(value));
        }
        let start = usize::try_from(offset).unwrap();
        put(&mut file, start, content);
        file.resize(start + content.len().next_multiple_of(0x200), 0);
        address += raw.next_multiple_of(0x1000);
        offset += raw;
    }
    for (field, value) in [
        (16, 0x1000_u32), // AddressOfEntryPoint
        (32, 0x1000),     // SectionAlignment
        (36, 0x200),      // FileAlignment
        (56, address),    // SizeOfImage
        (60, 0x400),      // SizeOfHeaders
        (108, 16),        // NumberOfRvaAndSizes
    ] {
        put(&mut file, 0x98 + field, &value.to_le_bytes());
    }
    file
}

/// A unified kernel image.
pub(crate) fn uki(kernel: &[u8]) -> Vec<u8> {
    pe(b".linux\0\0", kernel)
}

/// An EFI zboot image with a payload that is compressed with `codec`, and its length if it is not a payload of gzip.
pub(crate) fn zboot(codec: &[u8], payload: &[u8], unpacked_len: u32) -> Vec<u8> {
    // Data follow the payload, whose length is not a multiple of anything.
    let len = unpacked_len.to_le_bytes();
    let behind: &[u8] = if codec == b"gzip\0" { &[] } else { &len };
    let mut file = pe(b".text\0\0\0", &[payload, behind, &[0xaa; 7]].concat());
    put(&mut file, 4, b"zimg");
    put(&mut file, 8, &0x400_u32.to_le_bytes());
    put(&mut file, 12, &len32(payload).to_le_bytes());
    put(&mut file, 24, codec);
    put(&mut file, 0x38, &0x8182_23cd_u32.to_le_bytes());
    file
}

/// A legacy image of U-Boot of this type: 2 for a kernel.
pub(crate) fn uimage(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 64];
    put(&mut file, 0, &0x2705_1956_u32.to_be_bytes());
    put(&mut file, 12, &len32(content).to_be_bytes());
    put(&mut file, 28, &[5, 24, kind, 0]);
    put(&mut file, 32, b"a kernel");
    put(&mut file, 64, content);
    put(&mut file, 24, &crc32fast::hash(content).to_be_bytes());
    let header = crc32fast::hash(&file[..64]);
    put(&mut file, 4, &header.to_be_bytes());
    file
}
