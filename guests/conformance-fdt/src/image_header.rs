//! The header at the start of an `Image` (Linux `Documentation/arch/arm64/booting.rst`, section 4, and
//! `Documentation/arch/riscv/boot-image-header.rst`). Zeros in the ELF files of this program.

/// Length of the header in bytes.
pub const LEN: usize = 64;
/// Alignment of images, before `text_offset`.
const BASE_ALIGN: u64 = 2 << 20;
/// `text_offset` of arm64 Images without `image_size`.
const ARM64_OLD_TEXT_OFFSET: u64 = 0x8_0000;

/// Placement fields of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageHeader {
    /// Offset of the image from a 2 MiB boundary.
    pub text_offset: u64,
    /// Memory that the kernel uses, including the image; 0 in old arm64 headers.
    pub image_size: u64,
}

impl ImageHeader {
    /// Parses a header; `None` without its magic.
    #[must_use]
    pub fn read(bytes: &[u8; LEN]) -> Option<Self> {
        let word = |at: usize| {
            let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        let is_arm64 = bytes[56..60] == *b"ARM\x64";
        if !is_arm64 && bytes[56..60] != *b"RSC\x05" {
            return None;
        }
        let image_size = word(16);
        let text_offset = if is_arm64 && image_size == 0 {
            ARM64_OLD_TEXT_OFFSET
        } else {
            word(8)
        };
        Some(Self {
            text_offset,
            image_size,
        })
    }

    /// Distance of `base` from the preceding valid address.
    #[must_use]
    pub const fn misalignment(&self, base: u64) -> u64 {
        base.wrapping_sub(self.text_offset) % BASE_ALIGN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(magic: [u8; 4], text_offset: u64, image_size: u64) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[8..16].copy_from_slice(&text_offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&image_size.to_le_bytes());
        bytes[56..60].copy_from_slice(&magic);
        bytes
    }

    #[test]
    fn headers_are_recognised() {
        assert_eq!(ImageHeader::read(&[0; LEN]), None);
        for (magic, text_offset, size, expected) in [
            (*b"ARM\x64", 0, 0x1000, 0),
            (*b"ARM\x64", 0x1_0000, 0x1000, 0x1_0000),
            (*b"ARM\x64", 0, 0, 0x8_0000),
            (*b"RSC\x05", 0x20_0000, 0x1000, 0x20_0000),
        ] {
            let read = ImageHeader::read(&header(magic, text_offset, size)).unwrap();
            assert_eq!((read.text_offset, read.image_size), (expected, size));
        }
    }

    #[test]
    fn misalignment_is_relative_to_text_offset() {
        let at = |text_offset| ImageHeader {
            text_offset,
            image_size: 1,
        };
        assert_eq!(at(0).misalignment(0x8020_0000), 0);
        assert_eq!(at(0).misalignment(0x8028_0000), 0x8_0000);
        assert_eq!(at(0x8_0000).misalignment(0x4008_0000), 0);
        assert_eq!(at(0x20_0000).misalignment(0x8020_0000), 0);
        assert_eq!(at(0x8_0000).misalignment(0x1000), 0x18_1000);
    }
}
