//! Errors of the bzImage parser.

use boot_core::{FormatErrorKind, ImageError, ReadError};
use boot_linux::x86::BootProtocolVersion;

/// Error of the bzImage parser.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BzImageError {
    /// The image could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The image is malformed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The image is well-formed, but this crate does not support its kind.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

impl BzImageError {
    /// Category of the error.
    #[must_use]
    pub const fn kind(&self) -> FormatErrorKind {
        match self {
            Self::Read(_) => FormatErrorKind::Read,
            Self::Malformed(_) => FormatErrorKind::Malformed,
            Self::Unsupported(_) => FormatErrorKind::Unsupported,
        }
    }
}

/// Violation of the format. Offsets are file offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// `boot_flag` is not 0xaa55.
    #[error("boot_flag at 0x1fe is {0:#06x}, expected 0xaa55")]
    BootFlag(
        /// Value of `boot_flag`.
        u16,
    ),
    /// The file ends inside the real-mode code.
    #[error(
        "the file has {file_len:#x} bytes, but setup_sects at 0x1f1 specifies {expected:#x} bytes of boot sector and setup code; is the file truncated?"
    )]
    RealModeCodeTruncated {
        /// Length of the file in bytes.
        file_len: u64,
        /// Length of the boot sector and the setup code in bytes, by `setup_sects`.
        expected: u64,
    },
    /// The instruction at 0x200 is not a short forward jump; its operand is the length of the header.
    #[error(
        "the bytes at 0x200 are {found:02x?}, expected a short forward jump over the setup header (eb 00 to eb 7f)"
    )]
    JumpInstruction {
        /// The bytes at 0x200.
        found: [u8; 2],
    },
    /// The header ends before the fields that every protocol version has.
    #[error(
        "the setup header ends at {end:#x} by its length byte at 0x201, but every protocol version has fields up to 0x224"
    )]
    HeaderTooShort {
        /// End of the header in the file.
        end: u64,
    },
    /// The file ends inside the protected-mode code.
    #[error(
        "syssize at 0x1f4 specifies {expected:#x} bytes of code after the setup code, but the file has {found:#x}; is the file truncated?"
    )]
    ProtectedModeCodeTruncated {
        /// Length of the protected-mode code by `syssize`, in bytes.
        expected: u64,
        /// Number of bytes after the setup code.
        found: u64,
    },
    /// `syssize` is zero, in a protocol version that has the length of the code there.
    #[error("syssize at 0x1f4 is zero: there is no protected-mode code")]
    ZeroSyssize,
    /// The file ends after the real-mode code.
    #[error("there is no protected-mode code after the setup code, which ends at {offset:#x}")]
    NoProtectedModeCode {
        /// File offset of the end of the setup code.
        offset: u64,
    },
    /// `code32_start` is below 1 MiB, although LOADED_HIGH is set.
    #[error(
        "code32_start at 0x214 is {0:#x}, but with LOADED_HIGH in loadflags at 0x211 it must be at least 0x100000"
    )]
    Code32Start(
        /// Value of `code32_start`.
        u32,
    ),
    /// The memory that the kernel needs ends past the addresses that it can use.
    #[error(
        "the kernel needs {len:#x} bytes (init_size at 0x260, or computed from the length of the code) from {start:#x} (pref_address at 0x258, or the load address), more than it can address"
    )]
    AddressOverflow {
        /// Address where the kernel runs: `pref_address`, or the load address if that is not set.
        start: u64,
        /// Memory that it needs in bytes: `init_size`, the length of the code, or an estimate.
        len: u64,
    },
    /// The header does not make a valid [`KernelImage`](boot_core::KernelImage).
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// Reason why this crate does not support a well-formed image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// The major version of the boot protocol is not 2.
    #[error(
        "the boot protocol version at 0x206 is {0}; supported are 2.00 to 2.15 and later versions compatible with them"
    )]
    ProtocolVersion(
        /// The version.
        BootProtocolVersion,
    ),
    /// A `zImage`, which is loaded at 64 KiB.
    #[error(
        "the image is a zImage: LOADED_HIGH is clear in loadflags at 0x211, which is {loadflags:#04x}; build the kernel as a bzImage"
    )]
    ZImage {
        /// Value of `loadflags`.
        loadflags: u8,
    },
}
