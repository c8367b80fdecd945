//! Raw layout of a bzImage (Linux `Documentation/arch/x86/boot.rst`).
//!
//! The setup header is [`boot_linux::x86::SetupHeader`], which boot protocols share.
//!
//! ```text
//!  0x000  +-------------------------+
//!         | boot sector, or MZ/PE   |
//!  0x1f1  +-------------------------+  setup header
//!         |  ...                    |
//!         +-------------------------+  0x202 + the byte at 0x201
//!         | real-mode setup code    |
//!         +-------------------------+  (setup_sects + 1) * 512
//!         | protected-mode code     |
//!         +-------------------------+  + syssize * 16
//!         | signature, padding      |
//!         +-------------------------+  end of file
//! ```

use boot_linux::x86::BootProtocolVersion;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Fixed-size data of `kernel_info` (boot.rst, "The kernel_info").
///
/// `setup_type_max` exists only if `size` includes it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct KernelInfoHeader {
    /// [`KERNEL_INFO_MAGIC`].
    pub header: [u8; 4],
    /// Length of the fixed-size data in bytes, including this structure.
    pub size: U32,
    /// Length of the fixed-size and variable-size data in bytes.
    pub size_total: U32,
    /// Highest type of `setup_data` and `setup_indirect` that the kernel supports.
    pub setup_type_max: U32,
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<KernelInfoHeader>() == 16);
    assert!(offset_of!(KernelInfoHeader, size) == 4);
    assert!(offset_of!(KernelInfoHeader, size_total) == 8);
    assert!(offset_of!(KernelInfoHeader, setup_type_max) == 12);
};

/// Value of [`KernelInfoHeader::header`].
pub const KERNEL_INFO_MAGIC: [u8; 4] = *b"LToP";

/// Minimum of [`KernelInfoHeader::size`]: the length without `setup_type_max`.
pub const KERNEL_INFO_MIN_LEN: u32 = 12;

/// Value of `boot_flag` in the setup header.
pub const BOOT_FLAG: u16 = 0xaa55;

/// Value of `header` in the setup header.
pub const HEADER_MAGIC: [u8; 4] = *b"HdrS";

/// Opcode of the short jump at 0x200. Its operand is the length of the setup header from [`JUMP_END`].
pub const SHORT_JUMP: u8 = 0xeb;

/// File offset after the jump instruction.
pub const JUMP_END: u64 = 0x202;

/// End of the setup header of protocol 2.00, the shortest one.
pub const HEADER_END_2_00: u64 = 0x224;

/// Unit of `setup_sects` in bytes.
pub const SECTOR_LEN: u64 = 512;

/// Number of sectors if `setup_sects` is zero.
pub const DEFAULT_SETUP_SECTS: u8 = 4;

/// Maximum length of the boot sector and the setup code in bytes.
pub const MAX_REAL_MODE_CODE_LEN: u64 = 32 << 10;

/// Unit of `syssize` in bytes.
pub const PARAGRAPH_LEN: u64 = 16;

/// File offset that `kernel_version` is relative to.
pub const KERNEL_VERSION_BASE: u64 = 0x200;

/// Default and lowest load address of the protected-mode code (boot.rst, "Loading The Rest of The Kernel").
pub const LOAD_HIGH: u64 = 0x10_0000;

/// Offset of the 64-bit entry point in the protected-mode code (boot.rst, "64-bit Boot Protocol").
pub const ENTRY_64: u64 = 0x200;

/// Offset of the 16-bit entry point in the real-mode code (boot.rst, "Running the Kernel").
pub const ENTRY_16: u64 = 0x200;

/// Load address of the real-mode code in protocol 2.02 and later: the lowest one allowed.
pub const REAL_MODE_BASE: u64 = 0x1_0000;

/// Load address of the real-mode code before protocol 2.02.
pub const REAL_MODE_BASE_OLD: u64 = 0x9_0000;

/// End of the setup header of a protocol version: the end of its last field (boot.rst, "The Real-Mode Kernel Header").
/// For versions newer than 2.15, the end of 2.15.
#[must_use]
pub const fn header_end(version: BootProtocolVersion) -> u64 {
    match version.0 {
        ..=0x200 => HEADER_END_2_00,
        0x201 => 0x226,
        0x202 => 0x22c,
        0x203 | 0x204 => 0x230,
        0x205 => 0x235,
        0x206 => 0x23c,
        0x207 => 0x248,
        0x208 => 0x250,
        0x209 => 0x258,
        0x20a => 0x264,
        0x20b..=0x20e => 0x268,
        0x20f.. => 0x26c,
    }
}
