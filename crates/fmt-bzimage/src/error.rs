//! What can be wrong with a bzImage.

use boot_core::image::ImageError;
use boot_core::{FormatErrorKind, ReadError};
use boot_linux::x86::BootProtocolVersion;

/// Why an image that carries the bzImage magic number was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BzImageError {
    /// The image could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The image breaks the rules of the format.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The image keeps the rules but needs something this crate does not do.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

impl BzImageError {
    /// The kind of error, as format-neutral code needs it.
    #[must_use]
    pub const fn kind(&self) -> FormatErrorKind {
        match self {
            Self::Read(_) => FormatErrorKind::Read,
            Self::Malformed(_) => FormatErrorKind::Malformed,
            Self::Unsupported(_) => FormatErrorKind::Unsupported,
        }
    }
}

/// How an image breaks the rules of the format. Offsets are those of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// `boot_flag` is not the magic number.
    #[error("boot_flag at 0x1fe is {0:#06x}, not 0xaa55")]
    BootFlag(
        /// What was found.
        u16,
    ),
    /// The file ends inside the boot sector and setup code.
    #[error(
        "the file has {len:#x} bytes, but setup_sects at 0x1f1 announces {need:#x} bytes of boot sector and setup code; is it complete?"
    )]
    SetupCut {
        /// The length of the file.
        len: u64,
        /// The length that `setup_sects` announces.
        need: u64,
    },
    /// The jump at 0x200, whose operand is the length of the header, is none.
    #[error(
        "the bytes at 0x200 are {found:02x?}, not a short forward jump over the setup header (eb 00 to eb 7f)"
    )]
    Jump {
        /// What was found.
        found: [u8; 2],
    },
    /// The header ends before the fields that every protocol version has.
    #[error(
        "the setup header ends at {end:#x}, by its length byte at 0x201, but every version reaches 0x224"
    )]
    HeaderTooShort {
        /// The end of the header.
        end: u64,
    },
    /// The file ends before the protected-mode code that the header announces.
    #[error(
        "syssize at 0x1f4 announces {need:#x} bytes of code after the setup code, but the file holds {found:#x}; is it complete?"
    )]
    CodeCut {
        /// The length that `syssize` announces, in bytes.
        need: u64,
        /// How many bytes follow the setup code.
        found: u64,
    },
    /// `syssize` is zero in a version that says with it how long the code is.
    #[error("syssize at 0x1f4 is zero: there is no code")]
    NoSyssize,
    /// There is no protected-mode code.
    #[error("there is no code after the setup code, which ends at {code_offset:#x}")]
    NoCode {
        /// Where the code should begin.
        code_offset: u64,
    },
    /// `code32_start` is below 1 MiB in an image that is loaded high.
    #[error(
        "code32_start at 0x214 is {0:#x}, but loadflags at 0x211 says that the code is loaded at or above 0x100000"
    )]
    Code32Start(
        /// What was found.
        u32,
    ),
    /// `kernel_alignment` of a relocatable kernel is no power of two.
    #[error("kernel_alignment at 0x230 is {0:#x}, but a relocatable kernel needs a power of two")]
    KernelAlignment(
        /// What was found.
        u64,
    ),
    /// `min_alignment` asks for more than `kernel_alignment`, which it is meant to relax.
    #[error(
        "min_alignment at 0x235 is 2^{shift}, more than kernel_alignment at 0x230, which is {kernel_alignment:#x}"
    )]
    MinAlignment {
        /// `min_alignment`: the exponent.
        shift: u8,
        /// `kernel_alignment`.
        kernel_alignment: u64,
    },
    /// The memory that the kernel needs does not fit behind the address it runs at.
    #[error(
        "the kernel needs {need:#x} bytes (init_size at 0x260) from {start:#x} on (pref_address at 0x258), more than it can address there"
    )]
    Memory {
        /// Where the kernel runs: `pref_address`, or its load address where that is not set.
        start: u64,
        /// The memory that it needs there: `init_size`, the length of its code, or an estimate.
        need: u64,
    },
    /// XLF_KERNEL_64 promises an entry point that the code does not reach.
    #[error(
        "xloadflags at 0x236 promises a 64-bit entry point at 0x200, but there are only {code_len:#x} bytes of code"
    )]
    Entry64 {
        /// The length of the protected-mode code.
        code_len: u64,
    },
    /// The payload is not inside the protected-mode code.
    #[error(
        "the payload (payload_offset at 0x248: {offset:#x}, payload_length at 0x24c: {len:#x}) is not inside the {code_len:#x} bytes of code"
    )]
    Payload {
        /// `payload_offset`.
        offset: u64,
        /// `payload_length`.
        len: u64,
        /// The length of the protected-mode code in the file.
        code_len: u64,
    },
    /// `kernel_info` is not inside the protected-mode code.
    #[error(
        "kernel_info, {len:#x} bytes at kernel_info_offset {offset:#x} (at 0x268), is not inside the {code_len:#x} bytes of code"
    )]
    KernelInfoOutside {
        /// `kernel_info_offset`.
        offset: u64,
        /// The length of `kernel_info`, as far as it is known.
        len: u64,
        /// The length of the protected-mode code in the file.
        code_len: u64,
    },
    /// `kernel_info` does not begin with its magic number.
    #[error("kernel_info at {offset:#x} begins with {found:02x?}, not with \"LToP\"")]
    KernelInfoMagic {
        /// The file offset of `kernel_info`.
        offset: u64,
        /// What was found.
        found: [u8; 4],
    },
    /// The two lengths of `kernel_info` contradict each other or are too small.
    #[error(
        "kernel_info at {offset:#x} claims {size:#x} fixed bytes of {size_total:#x}; at least 12 must be"
    )]
    KernelInfoSize {
        /// The file offset of `kernel_info`.
        offset: u64,
        /// `size`.
        size: u32,
        /// `size_total`.
        size_total: u32,
    },
    /// What the header says makes no loadable image.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// What an image needs that this crate does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// A boot protocol before 2.00 or after 2.255.
    #[error(
        "its boot protocol, at 0x206, is {0}; this crate knows 2.00 to 2.15 and what is compatible with them"
    )]
    Version(
        /// The version.
        BootProtocolVersion,
    ),
    /// A `zImage`, loaded at 64 KiB.
    #[error(
        "it is a zImage: LOADED_HIGH is clear in loadflags at 0x211, which are {loadflags:#04x}; build the kernel as a bzImage"
    )]
    ZImage {
        /// `loadflags`.
        loadflags: u8,
    },
}
