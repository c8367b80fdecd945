//! Raw layout of a bzImage: numbers and structures as Linux `Documentation/arch/x86/boot.rst` defines them.
//!
//! The setup header itself is [`boot_linux::x86::SetupHeader`]: whoever boots the kernel needs it, too.
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

/// The fixed part of `kernel_info` (boot.rst, "The kernel_info").
///
/// `setup_type_max` exists where `size` reaches it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct KernelInfoHeader {
    /// [`KERNEL_INFO_MAGIC`].
    pub header: [u8; 4],
    /// Length of the fixed part in bytes, this structure included.
    pub size: U32,
    /// Length of the fixed and the variable part in bytes.
    pub size_total: U32,
    /// The highest type of `setup_data` and `setup_indirect` that the kernel knows.
    pub setup_type_max: U32,
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<KernelInfoHeader>() == 16);
    assert!(offset_of!(KernelInfoHeader, size) == 4);
    assert!(offset_of!(KernelInfoHeader, size_total) == 8);
    assert!(offset_of!(KernelInfoHeader, setup_type_max) == 12);
};

/// What [`KernelInfoHeader::header`] must be: "Linux top".
pub const KERNEL_INFO_MAGIC: [u8; 4] = *b"LToP";

/// The length of `kernel_info` before it had `setup_type_max`: the shortest that can be.
pub const KERNEL_INFO_MIN_LEN: u32 = 12;

/// What the setup header's `boot_flag` must be.
pub const BOOT_FLAG: u16 = 0xaa55;

/// What the setup header's `header` must be.
pub const HEADER_MAGIC: [u8; 4] = *b"HdrS";

/// The opcode of the short jump whose operand says how long the setup header is.
pub const SHORT_JUMP: u8 = 0xeb;

/// Where the setup header's length is counted from.
pub const JUMP_END: u64 = 0x202;

/// The end of the setup header of protocol 2.00: no header that can be used is shorter.
pub const HEADER_END_2_00: u64 = 0x224;

/// The unit of `setup_sects`.
pub const SECTOR_LEN: u64 = 512;

/// What `setup_sects` means where it is zero.
pub const DEFAULT_SETUP_SECTS: u8 = 4;

/// How long the boot sector and the setup code may be together.
pub const MAX_SETUP_LEN: u64 = 32 << 10;

/// The unit of `syssize`.
pub const PARAGRAPH_LEN: u64 = 16;

/// What is added to `kernel_version` to make it a file offset.
pub const KERNEL_VERSION_BASE: u64 = 0x200;

/// Where the protected-mode code goes by default, and the lowest address it can go to (boot.rst, "Loading The Rest
/// of The Kernel").
pub const LOAD_HIGH: u64 = 0x10_0000;

/// Offset of the 64-bit entry point in the protected-mode code (boot.rst, "64-bit Boot Protocol").
pub const ENTRY_64: u64 = 0x200;

/// Offset of the 16-bit entry point in the real-mode code (boot.rst, "Running the Kernel").
pub const ENTRY_16: u64 = 0x200;

/// Where the real-mode code goes from protocol 2.02 on: the lowest address of those it may go to.
pub const REAL_MODE_BASE: u64 = 0x1_0000;

/// Where the real-mode code goes before protocol 2.02.
pub const REAL_MODE_BASE_OLD: u64 = 0x9_0000;

/// Where the setup header of a protocol version ends: after the last field it has (boot.rst, "The Real-Mode Kernel
/// Header"). For versions newer than 2.15, this is the end of 2.15.
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
