//! Error of extracting a vmlinux.

/// Length of the start of the file that contains all fields read here.
pub(super) const HEADER: usize = 0x250;

/// Error of extracting the vmlinux from a bzImage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ExtractError {
    /// The file ends before the header does.
    #[error("this is not a bzImage: it has {found} bytes, and the header ends at {HEADER}")]
    TooShort { found: usize },
    /// There is no `HdrS` at 0x202.
    #[error("this is not a bzImage: bytes {found:02x?} at 0x202 instead of \"HdrS\"")]
    NoMagic { found: [u8; 4] },
    /// The boot protocol is older than 2.08 and has no payload fields.
    #[error("boot protocol {}.{:02} has no payload_offset, which 2.08 and later have", version >> 8, version & 0xff)]
    TooOld { version: u16 },
    /// Header fields point outside the file.
    #[error(
        "payload_offset {offset:#x} and payload_length {length:#x} point past the end of the file ({file:#x})"
    )]
    OutsideFile { offset: u32, length: u32, file: u64 },
    /// Another payload does not fit in the place of this one.
    #[error("a payload of {frame} bytes does not fit in the {room} bytes of the bzImage's")]
    NoRoom { frame: u64, room: u64 },
    /// The payload is not compressed with zstd.
    #[error("the payload starts with {found:02x?}: only zstd is supported")]
    NotZstd { found: [u8; 4] },
    /// The decompressed size at the end of the payload is 0 or above the limit.
    #[error("the payload's decompressed size field is {size} bytes")]
    BadSize { size: u64 },
    /// The decompressed size differs from the size at the end of the payload.
    #[error("the payload decompresses to {found} bytes instead of {expected}")]
    WrongSize { expected: u64, found: u64 },
    /// The zstd tool failed.
    #[error("zstd failed ({0})")]
    Zstd(std::process::ExitStatus),
}
