//! Raw layout of the headers of `Image` and zboot files, in the order of the kernel's documents.
//!
//! An `Image` begins with its header and is, from there to its end, what goes into memory:
//!
//! ```text
//!  0x00  code0, code1    entry point; "MZ" where the file is a PE program, too
//!  0x08  text_offset
//!  0x10  image_size
//!  0x18  flags
//!  0x20  version         riscv only
//!  0x30  magic           riscv only, deprecated
//!  0x38  magic number    "ARM\x64" or "RSC\x05"
//!  0x3c  offset of the PE header
//! ```

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The header of an arm64 `Image` (arm64 booting.rst, "Call the kernel image").
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Arm64Header {
    /// Executable code; begins with "MZ" where the file is a PE program, too.
    pub code0: [u8; 4],
    /// Executable code.
    pub code1: [u8; 4],
    /// Where the image goes, from a 2 MiB boundary on. Before 3.17, in the kernel's own byte order.
    pub text_offset: U64,
    /// How much memory the image needs from its start on; zero before 3.17.
    pub image_size: U64,
    /// See [`arm64_flags`].
    pub flags: U64,
    /// Reserved.
    pub res2: U64,
    /// Reserved.
    pub res3: U64,
    /// Reserved.
    pub res4: U64,
    /// [`ARM64_MAGIC`].
    pub magic: [u8; 4],
    /// File offset of the PE header, where the file is a PE program, too.
    pub res5: U32,
}

/// The header of a riscv `Image` (riscv boot-image-header.rst).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RiscvHeader {
    /// Executable code; begins with "MZ" where the file is a PE program, too.
    pub code0: [u8; 4],
    /// Executable code.
    pub code1: [u8; 4],
    /// Where the image goes, from the start of RAM on.
    pub text_offset: U64,
    /// How much memory the image needs from its start on.
    pub image_size: U64,
    /// See [`riscv_flags`].
    pub flags: U64,
    /// The version of this header: the major one in the upper 16 bits, the minor one in the lower.
    pub version: U32,
    /// Reserved.
    pub res1: U32,
    /// Reserved.
    pub res2: U64,
    /// [`RISCV_MAGIC`]; deprecated since version 0.2.
    pub magic: [u8; 8],
    /// [`RISCV_MAGIC2`], since version 0.2.
    pub magic2: [u8; 4],
    /// File offset of the PE header, where the file is a PE program, too.
    pub res3: U32,
}

/// The start of an EFI zboot image: a PE program that unpacks a kernel (Linux
/// `drivers/firmware/efi/libstub/zboot-header.S`).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ZbootHeader {
    /// "MZ" and two zeros.
    pub mz: [u8; 4],
    /// [`ZBOOT_MAGIC`].
    pub image_type: [u8; 4],
    /// File offset of the compressed kernel.
    pub payload_offset: U32,
    /// Length of the compressed kernel in bytes, without a length that the kernel's build appended to it.
    pub payload_size: U32,
    /// Reserved.
    pub reserved: [U32; 2],
    /// Name of the compression with a zero at its end, such as `gzip` or `zstd22`.
    pub compression: [u8; 32],
    /// 0x818223cd: the mark of a Linux PE program.
    pub linux_pe_magic: U32,
    /// File offset of the PE header.
    pub pe_offset: U32,
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Arm64Header>() == HEADER_LEN);
    assert!(offset_of!(Arm64Header, text_offset) == 0x08);
    assert!(offset_of!(Arm64Header, image_size) == 0x10);
    assert!(offset_of!(Arm64Header, flags) == 0x18);
    assert!(offset_of!(Arm64Header, magic) == 0x38);
    assert!(offset_of!(Arm64Header, res5) == 0x3c);
    assert!(size_of::<RiscvHeader>() == HEADER_LEN);
    assert!(offset_of!(RiscvHeader, text_offset) == 0x08);
    assert!(offset_of!(RiscvHeader, image_size) == 0x10);
    assert!(offset_of!(RiscvHeader, flags) == 0x18);
    assert!(offset_of!(RiscvHeader, version) == 0x20);
    assert!(offset_of!(RiscvHeader, magic) == 0x30);
    assert!(offset_of!(RiscvHeader, magic2) == 0x38);
    assert!(offset_of!(RiscvHeader, res3) == 0x3c);
    assert!(size_of::<ZbootHeader>() == HEADER_LEN);
    assert!(offset_of!(ZbootHeader, image_type) == 0x04);
    assert!(offset_of!(ZbootHeader, payload_offset) == 0x08);
    assert!(offset_of!(ZbootHeader, compression) == 0x18);
    assert!(offset_of!(ZbootHeader, linux_pe_magic) == 0x38);
    assert!(offset_of!(ZbootHeader, pe_offset) == 0x3c);
};

/// The length of each of the headers.
pub const HEADER_LEN: usize = 64;

/// What [`Arm64Header::magic`] must be.
pub const ARM64_MAGIC: [u8; 4] = *b"ARM\x64";

/// What [`RiscvHeader::magic`] is.
pub const RISCV_MAGIC: [u8; 8] = *b"RISCV\0\0\0";

/// What [`RiscvHeader::magic2`] must be from version 0.2 on.
pub const RISCV_MAGIC2: [u8; 4] = *b"RSC\x05";

/// What [`ZbootHeader::image_type`] must be.
pub const ZBOOT_MAGIC: [u8; 4] = *b"zimg";

/// The first two bytes of a PE program.
pub const MZ: [u8; 2] = *b"MZ";

/// The bits of [`Arm64Header::flags`].
pub mod arm64_flags {
    /// The kernel is big-endian.
    pub const BIG_ENDIAN: u64 = 1 << 0;
    /// Where the page size begins: two bits.
    pub const PAGE_SIZE_SHIFT: u32 = 1;
    /// The two bits of the page size, shifted down: 0 is "not said", 1 is 4 KiB, 2 is 16 KiB, 3 is 64 KiB.
    pub const PAGE_SIZE_MASK: u64 = 3;
    /// The kernel may be placed anywhere in RAM.
    pub const PLACED_ANYWHERE: u64 = 1 << 3;
    /// Every bit that has a meaning.
    pub const KNOWN: u64 = 0xf;
}

/// The bits of [`RiscvHeader::flags`].
pub mod riscv_flags {
    /// The kernel is big-endian.
    pub const BIG_ENDIAN: u64 = 1 << 0;
    /// Every bit that has a meaning.
    pub const KNOWN: u64 = 1;
}

/// The boundary that images are placed from, or at: 2 MiB (arm64 booting.rst; riscv boot.rst, "Kernel location").
pub const BASE_ALIGN: u64 = 2 << 20;

/// The `text_offset` of an arm64 kernel before 3.17, which has no `image_size`.
pub const ARM64_OLD_TEXT_OFFSET: u64 = 0x8_0000;

/// The end of the physical addresses that an arm64 image may use: it must lie in the 48-bit range.
pub const ARM64_MAX: u64 = 1 << 48;

/// The newest minor version of the riscv header that this crate knows: 0.2.
pub const RISCV_MINOR: u16 = 2;

/// The minor version since which [`RiscvHeader::magic2`] is the magic number.
pub const RISCV_MAGIC2_SINCE: u16 = 2;
