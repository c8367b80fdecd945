//! Writer of small `Image`, PE and compressed files, independent of the parser.

use fmt_test::Fields;

/// The length of an `Image` under construction.
pub(crate) const IMAGE_LEN: usize = 0x1000;

/// The length of a PE file under construction.
pub(crate) const PE_LEN: usize = 0x800;

/// Offsets of fields in a PE file under construction.
pub(crate) mod offset {
    pub(crate) const MACHINE: usize = 0x84;
    pub(crate) const SECTIONS: usize = 0x86;
    pub(crate) const SIZE_OF_OPTIONAL_HEADER: usize = 0x94;
    pub(crate) const CHARACTERISTICS: usize = 0x96;
    pub(crate) const MAGIC: usize = 0x98;
    pub(crate) const ENTRY: usize = 0xa8;
    pub(crate) const SECTION_ALIGNMENT: usize = 0xb8;
    pub(crate) const FILE_ALIGNMENT: usize = 0xbc;
    pub(crate) const SIZE_OF_IMAGE: usize = 0xd0;
    pub(crate) const SIZE_OF_HEADERS: usize = 0xd4;
    pub(crate) const CHECK_SUM: usize = 0xd8;
    pub(crate) const SUBSYSTEM: usize = 0xdc;
    /// PE32+ only from here on: `NumberOfRvaAndSizes`, and the first directory, section and base relocation.
    pub(crate) const DIRECTORY_COUNT: usize = 0x104;
    pub(crate) const DIRECTORIES: usize = 0x108;
    pub(crate) const TEXT: usize = 0x188;
    pub(crate) const DATA: usize = 0x1b0;
    pub(crate) const RELOC: usize = 0x1d8;
    pub(crate) const BLOCK: usize = 0x600;
}

/// A file under construction.
#[derive(Clone)]
pub(crate) struct File(Vec<u8>);

impl File {
    /// An arm64 `Image` as Linux 6.12 has it, without an EFI stub: 4 KiB pages, placed anywhere, 2 MiB of memory.
    pub(crate) fn arm64() -> Self {
        Self(vec![0xcc; IMAGE_LEN])
            .bytes(0, &[0; 64])
            .u32(0x00, 0x1400_0010) // code0: a branch behind the header
            .u64(0x10, 0x20_0000) // image_size
            .u64(0x18, 0b1010) // flags
            .bytes(0x38, b"ARM\x64")
    }

    /// An arm64 `Image` from before 3.17.
    pub(crate) fn arm64_old() -> Self {
        Self::arm64().u64(0x08, 0x8_0000).u64(0x10, 0).u64(0x18, 0)
    }

    /// A riscv64 `Image` as Linux 6.12 has it, without an EFI stub.
    pub(crate) fn riscv() -> Self {
        Self(vec![0xcc; IMAGE_LEN])
            .bytes(0, &[0; 64])
            .u32(0x00, 0x0400_006f) // code0: a jump behind the header
            .u64(0x08, 0x20_0000) // text_offset
            .u64(0x10, 0x30_0000) // image_size
            .u32(0x20, 2) // version 0.2
            .bytes(0x30, b"RISCV\0\0\0")
            .bytes(0x38, b"RSC\x05")
    }

    /// A riscv64 `Image` with the first version of the header.
    pub(crate) fn riscv_old() -> Self {
        Self::riscv().u32(0x20, 1).bytes(0x38, &[0; 4])
    }

    /// A PE32+ EFI application for arm64 with three sections, 16 directories and four base relocations.
    ///
    /// ```text
    ///             file            memory
    /// headers  0x000..0x200   0x0000..0x0200
    /// .text    0x200..0x400   0x1000..0x1180
    /// .data    0x400..0x600   0x2000..0x3000
    /// .reloc   0x600..0x800   0x3000..0x3014
    /// image                   0x0000..0x4000
    /// ```
    pub(crate) fn pe() -> Self {
        Self::any_pe(0x20b, 240)
            .u64(0xb0, 0x1_4000_0000) // ImageBase
            .u64(0xe0, 0x10_0000) // SizeOfStackReserve
            .u32(offset::DIRECTORY_COUNT, 16)
            .directory(5, 0x3000, 0x14)
            .sections(offset::TEXT)
    }

    /// The same as PE32, for x86.
    pub(crate) fn pe32() -> Self {
        Self::any_pe(0x10b, 224)
            .u16(offset::MACHINE, 0x14c)
            .u32(0xb4, 0x40_0000) // ImageBase
            .u32(0xe0, 0x10_0000) // SizeOfStackReserve
            .u32(0xf4, 16) // NumberOfRvaAndSizes
            .u32(0xf8 + 8 * 5, 0x3000)
            .u32(0xf8 + 8 * 5 + 4, 0x14)
            .sections(0x178)
    }

    fn any_pe(magic: u16, size_of_optional_header: u16) -> Self {
        Self(vec![0xcc; PE_LEN])
            .bytes(0, &[0; 0x200])
            .bytes(0, b"MZ")
            .u32(0x3c, 0x80) // e_lfanew
            .bytes(0x80, b"PE\0\0")
            .u16(offset::MACHINE, 0xaa64)
            .u16(offset::SECTIONS, 3)
            .u32(0x88, 0x6000_0000) // TimeDateStamp
            .u16(offset::SIZE_OF_OPTIONAL_HEADER, size_of_optional_header)
            .u16(offset::CHARACTERISTICS, 0x22e)
            .u16(offset::MAGIC, magic)
            .u32(offset::ENTRY, 0x1000)
            .u32(offset::SECTION_ALIGNMENT, 0x1000)
            .u32(offset::FILE_ALIGNMENT, 0x200)
            .u16(0xc4, 3) // MajorImageVersion
            .u32(offset::SIZE_OF_IMAGE, 0x4000)
            .u32(offset::SIZE_OF_HEADERS, 0x200)
            .u16(offset::SUBSYSTEM, 10)
            .u16(0xde, 0x160) // DllCharacteristics
            .block(0, 0x2000, &[0xa000, 0xa008, 0x0000, 0x3ff0, 0xaff8, 0x0000])
    }

    /// The section table.
    fn sections(self, table: usize) -> Self {
        self.section(table, ".text", [0x180, 0x1000, 0x200, 0x200], 0x6000_0020)
            .section(table + 40, ".data", [0x1000, 0x2000, 0x200, 0x400], 0xc000_0040)
            .section(table + 80, ".reloc", [0x14, 0x3000, 0x200, 0x600], 0x4200_0040)
    }

    /// A section header at a file offset: `VirtualSize`, `VirtualAddress`, `SizeOfRawData` and `PointerToRawData`.
    pub(crate) fn section(self, offset: usize, name: &str, numbers: [u32; 4], flags: u32) -> Self {
        let file = self.bytes(offset, &[0; 40]).bytes(offset, name.as_bytes());
        let fields = numbers.into_iter().zip((8..).step_by(4));
        fields
            .fold(file, |file, (number, field)| file.u32(offset + field, number))
            .u32(offset + 36, flags)
    }

    /// A data directory of a PE32+ file.
    pub(crate) fn directory(self, index: usize, start: u32, size: u32) -> Self {
        let entry = offset::DIRECTORIES + 8 * index;
        self.u32(entry, start).u32(entry + 4, size)
    }

    /// A block of base relocations at an offset in the table.
    pub(crate) fn block(self, offset: usize, page: u32, entries: &[u16]) -> Self {
        let offset = offset::BLOCK + offset;
        let size = 8 + 2 * entries.len();
        let entries = entries.iter().zip((8..).step_by(2));
        entries
            .fold(self, |file, (entry, field)| file.u16(offset + field, *entry))
            .u32(offset, page)
            .u32(offset + 4, size as u32)
    }

    /// An EFI zboot image with a gzip payload.
    pub(crate) fn zboot() -> Self {
        Self::pe()
            .bytes(0x04, b"zimg")
            .u32(0x08, 0x420) // payload offset
            .u32(0x0c, 0x100) // payload size
            .bytes(0x18, b"gzip\0")
            .u32(0x38, 0x8182_23cd)
            .bytes(0x420, &[0x1f, 0x8b, 8])
            .u32(0x51c, 0x30_0000) // the length it unpacks to
            .u32(0x520, 0x40_0000) // what follows the payload
    }

    /// The same `Image` with the PE header of an EFI stub for `machine`: all of [`pe`](Self::pe) after its own header.
    pub(crate) fn efi_stub(self, machine: u16) -> Self {
        let pe = Self::pe().u16(offset::MACHINE, machine).build();
        self.bytes(0, b"MZ")
            .u32(0x3c, 0x80)
            .bytes(0x40, &pe[0x40..PE_LEN])
    }
}

impl Fields for File {
    fn file(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

/// One `Image` or zboot file of every kind that the parsers handle differently, with a name.
pub(crate) fn image_samples() -> Vec<(&'static str, Vec<u8>)> {
    let kinds = [
        ("arm64", File::arm64()),
        ("arm64-16k", File::arm64().u64(0x18, 0b1100)),
        ("arm64-near", File::arm64().u64(0x18, 0b0010).u64(0x08, 0x8_0000)),
        ("arm64-big-endian", File::arm64().u64(0x18, 0b1011)),
        ("arm64-old", File::arm64_old()),
        (
            "arm64-old-big-endian",
            File::arm64_old().u64(0x08, 0x8_0000_u64.swap_bytes()),
        ),
        ("arm64-efi", File::arm64().efi_stub(0xaa64)),
        ("arm64-high", File::arm64().u64(0x08, 0x123_4000)),
        ("riscv", File::riscv()),
        ("riscv-old", File::riscv_old()),
        ("riscv-newer", File::riscv().u32(0x20, 3)),
        ("riscv-efi", File::riscv().efi_stub(0x5064)),
        ("riscv32", File::riscv().efi_stub(0x5032)),
        ("zboot", File::zboot()),
        ("zboot-zstd", File::zboot().bytes(0x18, b"zstd22\0")),
    ];
    kinds
        .into_iter()
        .map(|(name, file)| (name, file.build()))
        .collect()
}

/// One PE file of every kind that the parser handles differently, with a name.
pub(crate) fn pe_samples() -> Vec<(&'static str, Vec<u8>)> {
    let new = File::pe;
    let kinds = [
        ("pe32-plus", new()),
        ("pe32", File::pe32()),
        ("riscv64", new().u16(offset::MACHINE, 0x5064)),
        (
            "two-blocks",
            new().block(0, 0x1000, &[0xa000]).block(12, 0x2000, &[]),
        ),
        (
            "every-relocation",
            new().block(0, 0x2000, &[0x1000, 0x2002, 0x3004, 0xa008, 0, 0]),
        ),
        (
            "unsupported-relocation",
            new().block(0, 0x2000, &[0x4000, 0x1234, 0x1002, 0x2004, 0xa008, 0]),
        ),
        ("no-relocations", new().directory(5, 0, 0)),
        ("no-directories", new().u32(offset::DIRECTORY_COUNT, 0)),
        ("no-sections", new().u16(offset::SECTIONS, 0)),
        ("no-entry", new().u32(offset::ENTRY, 0)),
        (
            "bss",
            new().section(offset::DATA, ".bss", [0x1000, 0x2000, 0, 0], 0xc000_0080),
        ),
        (
            "bss-without-pointer",
            new().section(offset::DATA, ".bss", [0x1000, 0x2000, 0x200, 0], 0xc000_0080),
        ),
        (
            "unified",
            new().section(
                offset::DATA,
                ".linux",
                [0x1000, 0x2000, 0x200, 0x400],
                0x4000_0040,
            ),
        ),
        ("windows", new().u16(offset::SUBSYSTEM, 3)),
        ("rom", new().u16(offset::MAGIC, 0x107)),
        ("odd-length", new().resize(PE_LEN + 1)),
        ("zboot", File::zboot()),
        ("arm64-image", File::arm64().efi_stub(0xaa64)),
    ];
    kinds
        .into_iter()
        .map(|(name, file)| (name, file.build()))
        .collect()
}
