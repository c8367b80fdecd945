//! Raw layout of the headers of `Image` and zboot files.
//!
//! An `Image` begins with its header and is loaded as a whole:
//!
//! ```text
//!  0x00  code0, code1    entry point; "MZ" if the file is also a PE image
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
    /// Executable code; begins with "MZ" if the file is also a PE image.
    pub code0: [u8; 4],
    /// Executable code.
    pub code1: [u8; 4],
    /// Distance of the image from a 2 MiB boundary in bytes. Before 3.17, in the byte order of the kernel.
    pub text_offset: U64,
    /// Memory in bytes that the kernel needs from the start of the image; zero before 3.17.
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
    /// File offset of the PE header, if the file is also a PE image.
    pub res5: U32,
}

/// The header of a riscv `Image` (riscv boot-image-header.rst).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RiscvHeader {
    /// Executable code; begins with "MZ" if the file is also a PE image.
    pub code0: [u8; 4],
    /// Executable code.
    pub code1: [u8; 4],
    /// Preferred distance of the image from the start of RAM in bytes.
    pub text_offset: U64,
    /// Memory in bytes that the kernel needs from the start of the image.
    pub image_size: U64,
    /// See [`riscv_flags`].
    pub flags: U64,
    /// Version of the header: major version in the upper 16 bits, minor version in the lower.
    pub version: U32,
    /// Reserved.
    pub res1: U32,
    /// Reserved.
    pub res2: U64,
    /// [`RISCV_MAGIC`]; deprecated since version 0.2.
    pub magic: [u8; 8],
    /// [`RISCV_MAGIC2`], since version 0.2.
    pub magic2: [u8; 4],
    /// File offset of the PE header, if the file is also a PE image.
    pub res3: U32,
}

/// Header of an EFI zboot image (Linux
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
    /// Length of the compressed kernel in bytes, without the decompressed length that the Linux build appends.
    pub payload_size: U32,
    /// Reserved.
    pub reserved: [U32; 2],
    /// NUL-terminated name of the compression, such as `gzip` or `zstd22`.
    pub compression: [u8; 32],
    /// 0x818223cd: magic number of a Linux PE image.
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

/// Length of each of the headers in bytes.
pub const HEADER_LEN: usize = 64;

/// Value of [`Arm64Header::magic`].
pub const ARM64_MAGIC: [u8; 4] = *b"ARM\x64";

/// Value of [`RiscvHeader::magic`].
pub const RISCV_MAGIC: [u8; 8] = *b"RISCV\0\0\0";

/// Value of [`RiscvHeader::magic2`] since version 0.2.
pub const RISCV_MAGIC2: [u8; 4] = *b"RSC\x05";

/// Value of [`ZbootHeader::image_type`].
pub const ZBOOT_MAGIC: [u8; 4] = *b"zimg";

/// First two bytes of a PE image.
pub const MZ: [u8; 2] = *b"MZ";

/// Bits of [`Arm64Header::flags`].
pub mod arm64_flags {
    /// The kernel is big-endian.
    pub const BIG_ENDIAN: u64 = 1 << 0;
    /// Position of the two bits of the page size.
    pub const PAGE_SIZE_SHIFT: u32 = 1;
    /// Mask of the page size after the shift: 0 is unspecified, 1 is 4 KiB, 2 is 16 KiB, 3 is 64 KiB.
    pub const PAGE_SIZE_MASK: u64 = 3;
    /// The kernel may be placed anywhere in RAM.
    pub const PLACED_ANYWHERE: u64 = 1 << 3;
    /// All bits that have a meaning.
    pub const KNOWN: u64 = 0xf;
}

/// Bits of [`RiscvHeader::flags`].
pub mod riscv_flags {
    /// The kernel is big-endian.
    pub const BIG_ENDIAN: u64 = 1 << 0;
    /// All bits that have a meaning.
    pub const KNOWN: u64 = 1;
}

/// Alignment of the address that an image is placed relative to: 2 MiB (arm64 booting.rst; riscv boot.rst, "Kernel
/// location").
pub const BASE_ALIGN: u64 = 2 << 20;

/// `text_offset` of an arm64 kernel without `image_size` (before 3.17).
pub const ARM64_OLD_TEXT_OFFSET: u64 = 0x8_0000;

/// End of the 48-bit physical addresses that an arm64 image must lie in.
pub const ARM64_MAX: u64 = 1 << 48;

/// Newest minor version of the riscv header that this crate supports: 0.2.
pub const RISCV_MINOR: u16 = 2;

/// Minor version that introduced [`RiscvHeader::magic2`].
pub const RISCV_MAGIC2_SINCE: u16 = 2;
