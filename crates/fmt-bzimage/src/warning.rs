//! What is strange about a bzImage without being wrong.

use core::fmt;

use boot_linux::x86::BootProtocolVersion;

/// Something strange that does not keep the kernel from being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// The protocol is newer than this crate: its newer fields are ignored.
    NewerProtocol(BootProtocolVersion),
    /// The header ends before all fields of its protocol version: the rest counts as absent.
    ShortHeader {
        /// The end of the header in the file.
        end: u64,
        /// The end that the protocol version implies.
        expected: u64,
    },
    /// Setup code longer than the 32 KiB that real-mode loaders must reserve for it. In bytes.
    LongSetup(u64),
    /// The file cannot tell how long the protected-mode code is (before 2.04): all the rest of the file is taken.
    UnknownCodeLength,
    /// `kernel_version` points outside the setup code, or at no text that ends there.
    BadVersionString(
        /// The file offset that it points at.
        u64,
    ),
    /// `payload_offset` is set, but `payload_length` is zero.
    EmptyPayload,
    /// `init_size` is smaller than the code that is loaded: the code's own length is used.
    SmallInitSize {
        /// `init_size`.
        found: u64,
        /// The length of the protected-mode code.
        code_len: u64,
    },
    /// The header carries no `kernel_info` although its protocol version has it.
    NoKernelInfo,
    /// Neither a 32-bit nor a 64-bit entry point: the image starts in real mode and expects a PC BIOS.
    RealModeOnly,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewerProtocol(version) => {
                write!(
                    f,
                    "boot protocol {version} is newer than 2.15; what it added is ignored"
                )
            }
            Self::ShortHeader { end, expected } => write!(
                f,
                "the setup header ends at {end:#x}, but its boot protocol has fields up to {expected:#x}; those are taken as absent"
            ),
            Self::LongSetup(len) => {
                write!(
                    f,
                    "boot sector and setup code take {len:#x} bytes, more than the 0x8000 they may"
                )
            }
            Self::UnknownCodeLength => {
                write!(
                    f,
                    "the header does not say how long the code is; the whole rest of the file is loaded"
                )
            }
            Self::BadVersionString(offset) => {
                write!(
                    f,
                    "the kernel version string at {offset:#x} does not lie in the setup code"
                )
            }
            Self::EmptyPayload => write!(
                f,
                "payload_offset at 0x248 is set, but payload_length at 0x24c is zero"
            ),
            Self::SmallInitSize { found, code_len } => write!(
                f,
                "init_size at 0x260 is {found:#x}, less than the {code_len:#x} bytes that are loaded; those are used"
            ),
            Self::NoKernelInfo => write!(f, "kernel_info_offset at 0x268 is zero: there is no kernel_info"),
            Self::RealModeOnly => {
                write!(
                    f,
                    "it starts in real mode only and needs a PC BIOS: it is not a Linux kernel, but borrows its header"
                )
            }
        }
    }
}
