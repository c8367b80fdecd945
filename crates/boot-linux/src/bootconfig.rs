//! Boot configuration behind an initrd (Linux `Documentation/admin-guide/bootconfig.rst`, "Boot Configuration With Initrd").
//!
//! An initrd of a multiple of 4 bytes is followed by the configuration, zeros up to [`Footer::size`], and the [`Footer`]. The kernel takes the
//! configuration if `bootconfig` is on its command line.

use core::error::Error;
use core::fmt;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Longest boot configuration with its padding, in bytes (`XBC_DATA_MAX` of `include/linux/bootconfig.h`).
pub const MAX_LEN: usize = 32 * 1024 - 1;

/// The length of the configuration is padded to a multiple of it (`BOOTCONFIG_ALIGN`).
const ALIGN: usize = 4;

/// The last bytes of an initrd with a boot configuration.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Footer {
    /// Length of the configuration and its padding, in bytes.
    pub size: U32,
    /// Sum of all bytes of the configuration (`xbc_calc_checksum`).
    pub checksum: U32,
    /// [`Footer::MAGIC`].
    pub magic: [u8; 12],
}

const _: () = assert!(size_of::<Footer>() == 20);

/// A boot configuration of a length that the kernel refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BootconfigError {
    /// It is empty.
    Empty,
    /// It is longer than [`MAX_LEN`].
    TooLong {
        /// Its length with padding, in bytes.
        len: usize,
    },
}

impl Footer {
    /// Value of [`magic`](Self::magic) (`BOOTCONFIG_MAGIC`).
    pub const MAGIC: [u8; 12] = *b"#BOOTCONFIG\n";

    /// The footer of a configuration. Its text is not checked.
    ///
    /// # Errors
    ///
    /// [`BootconfigError`] for a length that the kernel refuses.
    pub fn new(config: &[u8]) -> Result<Self, BootconfigError> {
        if config.is_empty() {
            return Err(BootconfigError::Empty);
        }
        let len = config.len().checked_next_multiple_of(ALIGN).unwrap_or(usize::MAX);
        let size = match u32::try_from(len) {
            Ok(size) if len <= MAX_LEN => size,
            _ => return Err(BootconfigError::TooLong { len }),
        };
        let checksum = config
            .iter()
            .fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        Ok(Self {
            size: size.into(),
            checksum: checksum.into(),
            magic: Self::MAGIC,
        })
    }
}

impl fmt::Display for BootconfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the boot configuration is empty"),
            Self::TooLong { len } => write!(
                f,
                "the boot configuration has {len} bytes with its padding; shorten it to {MAX_LEN}, the limit of the kernel"
            ),
        }
    }
}

impl Error for BootconfigError {}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn a_footer_has_the_padded_length_and_the_sum_of_the_bytes() {
        let check = |config: &[u8], size: u32, checksum: u32| {
            let footer = Footer::new(config).unwrap();
            assert_eq!((footer.size.get(), footer.checksum.get()), (size, checksum));
            assert_eq!(footer.as_bytes()[8..], *b"#BOOTCONFIG\n");
        };
        check(b"k=v\n", 4, 0x128);
        check(b"k=v", 4, 0x11e);
        check(&[0xff; 5], 8, 5 * 0xff);
        check(&vec![b'a'; MAX_LEN - 3], 0x7ffc, 0x7ffc * u32::from(b'a'));
    }

    #[test]
    fn lengths_that_the_kernel_refuses_are_errors() {
        assert_eq!(Footer::new(b""), Err(BootconfigError::Empty));
        let too_long = vec![b'a'; MAX_LEN - 2];
        assert_eq!(
            Footer::new(&too_long),
            Err(BootconfigError::TooLong { len: 0x8000 })
        );
    }
}
