//! Wraps a guest's ELF into an `Image`, as the kernel's build wraps a vmlinux: the loaded bytes, with a header in the
//! first 64.
//!
//! ```text
//! offset   arm64                     riscv64
//! 0x00     the guest's own jump ─────────────────────
//! 0x08     text_offset ──────────────────────────────
//! 0x10     image_size ───────────────────────────────
//! 0x18     flags ────────────────────────────────────
//! 0x20     zeros                     version 0.2
//! 0x30     zeros                     magic "RISCV"
//! 0x38     magic "ARM\x64"           magic2 "RSC\x05"
//! ```
//!
//! Fields and offsets follow `Documentation/arch/arm64/booting.rst` and `Documentation/arch/riscv/boot-image-header.rst`.
//! There is no PE header: the guest is not an EFI application.

use crate::guest_elf::{ElfTarget, GuestElf, GuestElfError};

/// Fields of the header that differ between the Images.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Type, machine and byte order of the guest's ELF.
    pub(crate) target: ElfTarget,
    /// True for the header of riscv64, false for that of arm64.
    is_riscv64: bool,
    /// `text_offset`: bytes from a 2 MiB boundary to the image. A multiple of 4 KiB.
    pub(crate) text_offset: u64,
    /// Bytes by which `image_size` exceeds the guest's memory. `None` leaves `image_size` and `flags` zero, as kernels
    /// before Linux 3.17 do.
    pub(crate) extra_memory: Option<u64>,
    /// Bits 1 to 3 of `flags`: page size and placement, arm64 only.
    pub(crate) flags: u64,
}

/// arm64: pages of 4 KiB.
const PAGE_4K: u64 = 1 << 1;
/// arm64: pages of 64 KiB.
const PAGE_64K: u64 = 3 << 1;
/// arm64: the image may be anywhere, not only near the start of RAM.
const ANYWHERE: u64 = 1 << 3;
const BIG_ENDIAN: u64 = 1 << 0;
/// `text_offset` of arm64 kernels before 3.17, whatever they say.
const OLD_TEXT_OFFSET: u64 = 0x8_0000;
const RISCV_VERSION: u32 = 2;

impl Options {
    /// The values of a distribution's arm64 kernel.
    pub(crate) fn arm64() -> Self {
        Self {
            target: ElfTarget::AARCH64,
            is_riscv64: false,
            text_offset: 0,
            extra_memory: Some(0x10_0000),
            flags: PAGE_4K | ANYWHERE,
        }
    }

    /// A big-endian arm64 kernel.
    pub(crate) fn arm64_big_endian() -> Self {
        Self {
            target: ElfTarget::AARCH64_BE,
            ..Self::arm64()
        }
    }

    /// An arm64 kernel of Linux 3.17 to 4.5: with a `text_offset`, and near the start of RAM.
    pub(crate) fn arm64_offset() -> Self {
        Self {
            text_offset: 0x1_0000,
            flags: PAGE_64K,
            ..Self::arm64()
        }
    }

    /// An arm64 kernel before Linux 3.17, without `image_size`.
    pub(crate) fn arm64_old() -> Self {
        Self {
            text_offset: OLD_TEXT_OFFSET,
            extra_memory: None,
            flags: 0,
            ..Self::arm64()
        }
    }

    /// The values of a distribution's riscv64 kernel.
    pub(crate) fn riscv64() -> Self {
        Self {
            target: ElfTarget::RISCV64,
            is_riscv64: true,
            text_offset: 0x20_0000,
            flags: 0,
            ..Self::arm64()
        }
    }
}

/// Error of wrapping a guest into an Image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ImageError {
    /// The guest's ELF cannot be used.
    #[error(transparent)]
    Elf(#[from] GuestElfError),
    /// The entry point is not the first byte, where an Image is entered.
    #[error(
        "the ELF's entry point is {found:#x}; an Image is entered at its first byte, which is at {expected:#x}"
    )]
    Entry { found: u64, expected: u64 },
    /// The guest has bytes other than zero in the place of the header.
    #[error("the guest has {found:#x} at offset {offset:#x}, where an Image has its header")]
    NoRoom { offset: usize, found: u8 },
    /// The guest is shorter than the header.
    #[error("the guest has {len:#x} bytes; an Image's header takes {HEADER_LEN:#x}")]
    Short { len: usize },
}

const HEADER_LEN: usize = 64;
/// Length of `code0`, the guest's own jump.
const JUMP_LEN: usize = 4;
const PAGE: u64 = 4096;

/// Wraps the ELF64 `elf` into an Image.
///
/// # Errors
///
/// See [`ImageError`].
pub(crate) fn wrap(elf: &[u8], options: &Options) -> Result<Vec<u8>, ImageError> {
    let flat = GuestElf::parse(elf, options.target)?.flatten()?;
    if flat.entry != flat.base {
        return Err(ImageError::Entry {
            found: flat.entry,
            expected: flat.base,
        });
    }
    let memory = (flat.bytes.len() as u64).next_multiple_of(PAGE);
    let mut file = flat.bytes;
    file.truncate(flat.file_len);
    let len = file.len();
    let header = file.get_mut(..HEADER_LEN).ok_or(ImageError::Short { len })?;
    if let Some((offset, found)) = header
        .iter()
        .enumerate()
        .skip(JUMP_LEN)
        .find(|(_, byte)| **byte != 0)
    {
        return Err(ImageError::NoRoom {
            offset,
            found: *found,
        });
    }
    let mut put = |offset: usize, bytes: &[u8]| header[offset..offset + bytes.len()].copy_from_slice(bytes);
    if let Some(extra_memory) = options.extra_memory {
        let order = if options.target.is_big_endian() {
            BIG_ENDIAN
        } else {
            0
        };
        put(0x08, &options.text_offset.to_le_bytes());
        put(0x10, &memory.saturating_add(extra_memory).to_le_bytes());
        put(0x18, &(options.flags | order).to_le_bytes());
    } else if options.target.is_big_endian() {
        // Before 3.17, in the byte order of the kernel.
        put(0x08, &options.text_offset.to_be_bytes());
    } else {
        put(0x08, &options.text_offset.to_le_bytes());
    }
    if options.is_riscv64 {
        put(0x20, &RISCV_VERSION.to_le_bytes());
        put(0x30, b"RISCV\0\0\0");
        put(0x38, b"RSC\x05");
    } else {
        put(0x38, b"ARM\x64");
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest_elf::tests::{SAMPLE, elf64_for};

    /// [`SAMPLE`] with its entry at its first byte, where there is a jump and room for a header.
    fn sample(target: ElfTarget, entry: u64) -> Vec<u8> {
        let mut elf = elf64_for(target, &SAMPLE, entry);
        elf[0x1004..0x1040].fill(0);
        elf
    }

    /// `text_offset`, `image_size`, `flags`, the four words behind them, and the magic.
    fn check(options: Options, words: [u64; 6], magic: [u8; 4]) {
        let elf = sample(options.target, 0);
        let file = wrap(&elf, &options).unwrap();
        let word = |index: usize| u64::from_le_bytes(file[8 + index * 8..16 + index * 8].try_into().unwrap());
        assert_eq!([0, 1, 2, 3, 4, 5].map(word), words, "{options:?}");
        assert_eq!(file[56..60], magic);
        assert_eq!(file[60..64], [0; 4]);
        // All but the header is the guest's, up to the end of its last bytes.
        assert_eq!(file[..4], elf[0x1000..0x1004]);
        assert_eq!(file[64..0x1000], elf[0x1040..0x2000]);
        assert_eq!(file[0x2000..], elf[0x3000..0x3045]);
    }

    #[test]
    fn the_header_says_what_the_image_is() {
        let riscv = u64::from_le_bytes(*b"RISCV\0\0\0");
        check(Options::arm64(), [0, 0x10_6000, 0b1010, 0, 0, 0], *b"ARM\x64");
        check(
            Options::arm64_big_endian(),
            [0, 0x10_6000, 0b1011, 0, 0, 0],
            *b"ARM\x64",
        );
        check(
            Options::arm64_offset(),
            [0x1_0000, 0x10_6000, 0b0110, 0, 0, 0],
            *b"ARM\x64",
        );
        check(Options::arm64_old(), [0x8_0000, 0, 0, 0, 0, 0], *b"ARM\x64");
        let old_big = Options {
            target: ElfTarget::AARCH64_BE,
            ..Options::arm64_old()
        };
        check(old_big, [0x8_0000_u64.swap_bytes(), 0, 0, 0, 0, 0], *b"ARM\x64");
        check(
            Options::riscv64(),
            [0x20_0000, 0x10_6000, 0, 2, 0, riscv],
            *b"RSC\x05",
        );
    }

    #[test]
    fn guests_that_have_no_room_for_a_header_are_refused() {
        let options = Options::arm64();
        let check = |elf: &[u8], expected| assert_eq!(wrap(elf, &options).err(), Some(expected));
        let mut elf = sample(options.target, 0);
        elf[0x103f] = 7;
        check(&elf, ImageError::NoRoom { offset: 63, found: 7 });
        check(
            &sample(options.target, 4),
            ImageError::Entry {
                found: 0x10_0004,
                expected: 0x10_0000,
            },
        );
        let short = elf64_for(options.target, &[(1, 7, 0x1000, 0x10_0000, 0x20, 0x20)], 0);
        check(&short, ImageError::Short { len: 0x20 });
    }
}
