//! Why a payload could not be unpacked.

/// Bytes from the start of the file that hold all the fields read here.
pub(super) const HEADER: usize = 0x250;

/// Why the payload could not be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PayloadError {
    /// The file ends before the header does.
    #[error("this is no bzImage: it has {found} bytes, and the header alone takes {HEADER}")]
    TooShort { found: usize },
    /// There is no `HdrS` at 0x202.
    #[error("this is no bzImage: bytes {found:02x?} at 0x202 instead of \"HdrS\"")]
    NoMagic { found: [u8; 4] },
    /// The protocol is too old to say where the payload is.
    #[error("boot protocol {}.{:02} does not say where the payload is, 2.08 and later do", version >> 8, version & 0xff)]
    TooOld { version: u16 },
    /// Header fields point outside the file.
    #[error(
        "payload_offset {offset:#x} and payload_length {length:#x} lead past the end of the file ({file:#x})"
    )]
    OutsideFile { offset: u32, length: u32, file: u64 },
    /// The payload is compressed with something else than zstd.
    #[error("the payload starts with {found:02x?}: only zstd can be unpacked so far")]
    NotZstd { found: [u8; 4] },
    /// The size that the kernel's build appended to the payload is not one of a vmlinux.
    #[error("the payload claims to unpack to {size} bytes")]
    BadSize { size: u64 },
    /// The unpacked payload has another size than the kernel's build appended to it.
    #[error("the payload unpacks to {found} bytes instead of {expected}")]
    WrongSize { expected: u64, found: u64 },
    /// The zstd tool failed.
    #[error("zstd failed ({0})")]
    Zstd(std::process::ExitStatus),
}
