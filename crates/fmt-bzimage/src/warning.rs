//! Warnings of the bzImage parser.

use core::fmt;

use boot_linux::x86::BootProtocolVersion;

/// Warning of the bzImage parser: a finding that does not stop the kernel from being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// The boot protocol is newer than 2.15. Newer fields are ignored.
    NewerProtocol(
        /// Version of the boot protocol.
        BootProtocolVersion,
    ),
    /// The header ends before the last field of its protocol version. The remaining fields count as absent.
    ShortHeader {
        /// End of the header in the file.
        end: u64,
        /// End of the header of this protocol version.
        expected: u64,
    },
    /// The real-mode code is longer than 32 KiB, the size that boot loaders must reserve for it.
    LargeRealModeCode(
        /// Length of the real-mode code in bytes.
        u64,
    ),
    /// The header does not specify the length of the protected-mode code (before 2.04). The rest of the file is loaded.
    UnknownCodeLength,
    /// `kernel_version` does not point to a NUL-terminated string in the real-mode code.
    InvalidVersionString(
        /// File offset that it points to.
        u64,
    ),
    /// `payload_offset` is set, but `payload_length` is zero.
    EmptyPayload,
    /// `init_size` is smaller than the protected-mode code. The length of the code is used instead.
    SmallInitSize {
        /// Value of `init_size`.
        init_size: u64,
        /// Length of the protected-mode code in bytes.
        code_len: u64,
    },
    /// `kernel_alignment` of a relocatable kernel is not a power of two. The kernel is loaded at `code32_start`, as one that
    /// is not relocatable.
    KernelAlignment(
        /// Value of `kernel_alignment`.
        u64,
    ),
    /// `min_alignment` exceeds `kernel_alignment`. It is not used.
    MinAlignment {
        /// Value of `min_alignment`: an exponent of two.
        exponent: u8,
        /// Value of `kernel_alignment`.
        kernel_alignment: u64,
    },
    /// XLF_KERNEL_64 is set, but the 64-bit entry point lies outside the code. Only the 32-bit entry point is used.
    Entry64OutsideCode {
        /// Length of the protected-mode code in bytes.
        code_len: u64,
    },
    /// The payload lies outside the protected-mode code. The kernel finds it on its own.
    PayloadOutsideCode {
        /// Value of `payload_offset`.
        offset: u64,
        /// Value of `payload_length`.
        len: u64,
        /// Length of the protected-mode code in the file, in bytes.
        code_len: u64,
    },
    /// `kernel_info` lies outside the protected-mode code. It is ignored.
    KernelInfoOutsideCode {
        /// Value of `kernel_info_offset`.
        offset: u64,
        /// Length of `kernel_info` in bytes: `size_total`, or 12 if that field is outside, too.
        len: u64,
        /// Length of the protected-mode code in the file, in bytes.
        code_len: u64,
    },
    /// `kernel_info` does not begin with its magic number. It is ignored.
    KernelInfoMagic {
        /// File offset of `kernel_info`.
        offset: u64,
        /// The bytes there.
        found: [u8; 4],
    },
    /// `size` or `size_total` of `kernel_info` is too small. It is ignored.
    KernelInfoSize {
        /// File offset of `kernel_info`.
        offset: u64,
        /// Value of `size`.
        size: u32,
        /// Value of `size_total`.
        size_total: u32,
    },
    /// `kernel_info_offset` is zero although the protocol version has `kernel_info`.
    NoKernelInfo,
    /// The image has neither a 32-bit nor a 64-bit entry point: it starts in real mode and needs a PC BIOS. Such
    /// programs use the header to be started by Linux boot loaders.
    RealModeOnly,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewerProtocol(version) => {
                write!(
                    f,
                    "boot protocol {version} is newer than 2.15; newer fields are ignored"
                )
            }
            Self::ShortHeader { end, expected } => write!(
                f,
                "the setup header ends at {end:#x}, but its boot protocol has fields up to {expected:#x}; the remaining fields are treated as absent"
            ),
            Self::LargeRealModeCode(len) => {
                write!(
                    f,
                    "the boot sector and setup code take {len:#x} bytes, more than the maximum of 0x8000"
                )
            }
            Self::UnknownCodeLength => {
                write!(
                    f,
                    "the header does not specify the length of the protected-mode code; the rest of the file is loaded"
                )
            }
            Self::InvalidVersionString(offset) => {
                write!(
                    f,
                    "the kernel version string at {offset:#x} does not end inside the setup code"
                )
            }
            Self::EmptyPayload => write!(
                f,
                "payload_offset at 0x248 is set, but payload_length at 0x24c is zero"
            ),
            Self::SmallInitSize { init_size, code_len } => write!(
                f,
                "init_size at 0x260 is {init_size:#x}, less than the {code_len:#x} bytes of protected-mode code; the length of the code is used"
            ),
            Self::KernelAlignment(align) => write!(
                f,
                "kernel_alignment at 0x230 of a relocatable kernel is {align:#x}, expected a power of two; the kernel is loaded at code32_start"
            ),
            Self::MinAlignment {
                exponent,
                kernel_alignment,
            } => write!(
                f,
                "min_alignment at 0x235 is 2^{exponent}, more than kernel_alignment at 0x230, which is {kernel_alignment:#x}; it is ignored"
            ),
            Self::Entry64OutsideCode { code_len } => write!(
                f,
                "XLF_KERNEL_64 is set in xloadflags at 0x236, but its entry point at offset 0x200 of the protected-mode code is outside the {code_len:#x} bytes of code; only the 32-bit entry point is used"
            ),
            Self::PayloadOutsideCode {
                offset,
                len,
                code_len,
            } => write!(
                f,
                "the payload (payload_offset at 0x248: {offset:#x}, payload_length at 0x24c: {len:#x}) is outside the {code_len:#x} bytes of code; it is ignored"
            ),
            Self::KernelInfoOutsideCode {
                offset,
                len,
                code_len,
            } => write!(
                f,
                "kernel_info, {len:#x} bytes at kernel_info_offset {offset:#x} (at 0x268), is outside the {code_len:#x} bytes of code; it is ignored"
            ),
            Self::KernelInfoMagic { offset, found } => write!(
                f,
                "kernel_info at {offset:#x} begins with {found:02x?}, expected \"LToP\"; it is ignored"
            ),
            Self::KernelInfoSize {
                offset,
                size,
                size_total,
            } => write!(
                f,
                "kernel_info at {offset:#x} has a size of {size:#x} and a size_total of {size_total:#x}; size must be at least 0xc, size_total at least size; it is ignored"
            ),
            Self::NoKernelInfo => write!(f, "kernel_info_offset at 0x268 is zero: there is no kernel_info"),
            Self::RealModeOnly => {
                write!(
                    f,
                    "the image starts in real mode only and needs a PC BIOS: it has the header of a Linux kernel but is another program"
                )
            }
        }
    }
}
