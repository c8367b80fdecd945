//! GUIDs of the UEFI specification, appendix A.

use core::error::Error;
use core::fmt;
use core::str::FromStr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A GUID in the byte order of disks and of EFI: the first three groups are little-endian (UEFI specification 2.10,
/// appendix A).
///
/// Its text is `c12a7328-f81f-11d2-ba4b-00a0c93ec93b`, in either case.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct Guid([u8; 16]);

/// Order of the bytes in the text.
const TEXT_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

/// Length of the text in bytes.
const TEXT_LEN: usize = 36;

impl Guid {
    /// All zeros: the type of an unused GPT entry.
    pub const ZERO: Self = Self([0; 16]);
    /// Partition type: EFI System Partition.
    pub const ESP: Self = Self::new(
        0xc12a_7328,
        0xf81f,
        0x11d2,
        [0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b],
    );
    /// Partition type: Extended Boot Loader Partition of the Boot Loader Specification.
    pub const XBOOTLDR: Self = Self::new(
        0xbc13_c2ff,
        0x59e6,
        0x4262,
        [0xa3, 0x52, 0xb2, 0x75, 0xfd, 0x6f, 0x71, 0x72],
    );
    /// Partition type: Linux file system data.
    pub const LINUX_DATA: Self = Self::new(
        0x0fc6_3daf,
        0x8483,
        0x4772,
        [0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4],
    );
    /// Partition type: root file system for x86_64 (Discoverable Partitions Specification).
    pub const LINUX_ROOT_X86_64: Self = Self::new(
        0x4f68_bce3,
        0xe8cd,
        0x4db1,
        [0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09],
    );
    /// Partition type: root file system for arm64.
    pub const LINUX_ROOT_ARM64: Self = Self::new(
        0xb921_b045,
        0x1df0,
        0x41c3,
        [0xaf, 0x44, 0x4c, 0x6f, 0x28, 0x0d, 0x3f, 0xae],
    );
    /// Partition type: root file system for riscv64.
    pub const LINUX_ROOT_RISCV64: Self = Self::new(
        0x72ec_70a6,
        0xcf74,
        0x40e6,
        [0xbd, 0x49, 0x4b, 0xda, 0x08, 0xe8, 0xf2, 0x24],
    );
    /// Partition type: Linux swap.
    pub const LINUX_SWAP: Self = Self::new(
        0x0657_fd6d,
        0xa4ab,
        0x43c4,
        [0x84, 0xe5, 0x09, 0x33, 0xc8, 0x4b, 0x4f, 0x4f],
    );
    /// Partition type: BIOS boot partition of GRUB.
    pub const BIOS_BOOT: Self = Self::new(
        0x2168_6148,
        0x6449,
        0x6e6f,
        [0x74, 0x4e, 0x65, 0x65, 0x64, 0x45, 0x46, 0x49],
    );
    /// Partition type: Microsoft basic data, also FAT file systems of other origin.
    pub const BASIC_DATA: Self = Self::new(
        0xebd0_a0a2,
        0xb9e5,
        0x4433,
        [0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7],
    );

    /// The GUID of the groups of its text: `time_low`, `time_mid`, `time_high_and_version`, and the bytes of the last two groups.
    #[must_use]
    pub const fn new(time_low: u32, time_mid: u16, time_high: u16, rest: [u8; 8]) -> Self {
        let (low, mid, high) = (
            time_low.to_le_bytes(),
            time_mid.to_le_bytes(),
            time_high.to_le_bytes(),
        );
        Self([
            low[0], low[1], low[2], low[3], mid[0], mid[1], high[0], high[1], rest[0], rest[1], rest[2],
            rest[3], rest[4], rest[5], rest[6], rest[7],
        ])
    }

    /// The GUID of 16 bytes on a disk.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes on a disk.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Whether all bits are zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Name of a known partition type.
    #[must_use]
    pub fn type_name(self) -> Option<&'static str> {
        Some(match self {
            Self::ESP => "EFI System Partition",
            Self::XBOOTLDR => "Extended Boot Loader Partition",
            Self::LINUX_DATA => "Linux file system",
            Self::LINUX_ROOT_X86_64 => "Linux root (x86_64)",
            Self::LINUX_ROOT_ARM64 => "Linux root (arm64)",
            Self::LINUX_ROOT_RISCV64 => "Linux root (riscv64)",
            Self::LINUX_SWAP => "Linux swap",
            Self::BIOS_BOOT => "BIOS boot partition",
            Self::BASIC_DATA => "Microsoft basic data",
            _ => return None,
        })
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, index) in TEXT_ORDER.into_iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0.get(index).copied().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a GUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseGuidError {
    /// The text has another length than 36 bytes.
    Length(usize),
    /// The byte at this position is neither the expected hyphen nor a hexadecimal digit.
    Byte {
        /// Position in the text.
        position: usize,
        /// The byte.
        found: u8,
    },
}

impl fmt::Display for ParseGuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(len) => write!(f, "a GUID has {TEXT_LEN} characters, this text has {len} bytes"),
            Self::Byte { position, found } => {
                let found = found.escape_ascii();
                write!(
                    f,
                    "'{found}' at position {position}, where a GUID has a hexadecimal digit or '-'"
                )
            }
        }
    }
}

impl Error for ParseGuidError {}

impl FromStr for Guid {
    type Err = ParseGuidError;

    fn from_str(text: &str) -> Result<Self, ParseGuidError> {
        if text.len() != TEXT_LEN {
            return Err(ParseGuidError::Length(text.len()));
        }
        let mut bytes = [0; 16];
        let mut text = text.bytes().enumerate();
        for (position, index) in TEXT_ORDER.into_iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                match text.next() {
                    Some((_, b'-')) | None => {}
                    Some((position, found)) => return Err(ParseGuidError::Byte { position, found }),
                }
            }
            let byte = text.by_ref().take(2).try_fold(0, |byte, (position, found)| {
                let digit = char::from(found)
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok());
                digit
                    .map(|digit| byte << 4 | digit)
                    .ok_or(ParseGuidError::Byte { position, found })
            })?;
            if let Some(slot) = bytes.get_mut(index) {
                *slot = byte;
            }
        }
        Ok(Self(bytes))
    }
}
