//! Names of files that are no kernel images, for error messages.
//!
//! [`detect`](crate::detect) names a file that no format recognises, whatever formats are in use. Nothing else depends on
//! these names.

mod file_kind;
mod signatures;

pub use self::file_kind::FileKind;
use self::signatures::SIGNATURES;
use crate::{ReadError, SizedSource};

/// The longest part of a signature in bytes.
const MAX_PART: usize = 24;

/// The kind of a file by its magic numbers; `None` if none is known.
///
/// Magic numbers are short, and the rest of the file is not checked. A file of a format that this program has should be
/// parsed first, as [`detect`](crate::detect) does.
///
/// # Errors
///
/// [`ReadError`] if the source cannot be read.
pub fn identify(source: &SizedSource<'_>) -> Result<Option<FileKind>, ReadError> {
    if is_fit(source)? {
        return Ok(Some(signatures::FIT));
    }
    for signature in &SIGNATURES {
        let mut matches = true;
        for (offset, expected) in signature.parts {
            matches = matches && has_bytes(source, *offset, expected)?;
        }
        if matches {
            return Ok(Some(signature.kind));
        }
    }
    Ok(has_reset_vector(source)?.then_some(signatures::FIRMWARE))
}

/// Whether the source has `expected` at `offset`.
fn has_bytes(source: &SizedSource<'_>, offset: u64, expected: &[u8]) -> Result<bool, ReadError> {
    let mut buffer = [0; MAX_PART];
    let Some(found) = buffer.get_mut(..expected.len()) else {
        return Ok(false);
    };
    let len = source.read_prefix_at(offset, found)?;
    Ok(len == expected.len() && found == expected)
}

/// Magic number of a flattened device tree.
const DEVICE_TREE: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];

/// Token and name of the node `images` of a flattened device tree.
const IMAGES_NODE: &[u8] = b"\0\0\0\x01images\0\0";

/// Length of the part of the structure block that is searched for the node `images`. The properties before it are few and
/// short.
const FIT_SEARCH: usize = 4096;

/// Whether the source is a device tree with a node `images` near its start, as a FIT image has.
fn is_fit(source: &SizedSource<'_>) -> Result<bool, ReadError> {
    let mut structure = [0; 4];
    if !has_bytes(source, 0, &DEVICE_TREE)? || source.read_prefix_at(8, &mut structure)? < 4 {
        return Ok(false);
    }
    let mut block = alloc::vec![0; FIT_SEARCH];
    let len = source.read_prefix_at(u32::from_be_bytes(structure).into(), &mut block)?;
    let block = block.get(..len).unwrap_or_default();
    Ok(block
        .windows(IMAGES_NODE.len())
        .any(|window| window == IMAGES_NODE))
}

/// Smallest and largest firmware ROM of a PC in bytes.
const ROM_SIZES: core::ops::RangeInclusive<u64> = 0x1_0000..=0x200_0000;

/// Distance of the reset vector from the end of a ROM, which ends at 4 GiB.
const RESET_VECTOR: u64 = 16;

/// Whether the source has the size of a firmware ROM and a jump at the reset vector: far, near, or near after two `nop`.
fn has_reset_vector(source: &SizedSource<'_>) -> Result<bool, ReadError> {
    let len = source.len();
    if !ROM_SIZES.contains(&len) || len % 0x1_0000 != 0 {
        return Ok(false);
    }
    let mut code = [0; 3];
    source.read_prefix_at(len.saturating_sub(RESET_VECTOR), &mut code)?;
    Ok(matches!(code, [0xea | 0xe9, ..] | [0x90, 0x90, 0xe9]))
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    fn kind(bytes: &[u8]) -> Option<&'static str> {
        let source = SizedSource::new(&bytes).unwrap();
        identify(&source).unwrap().map(|kind| kind.name)
    }

    /// A file with the parts of a signature.
    fn file(parts: &[(u64, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (offset, part) in parts {
            let start = usize::try_from(*offset).unwrap();
            bytes.resize(bytes.len().max(start + part.len()), 0);
            bytes[start..start + part.len()].copy_from_slice(part);
        }
        bytes
    }

    #[test]
    fn every_signature_is_found_and_none_hides_another() {
        for signature in &SIGNATURES {
            let bytes = file(signature.parts);
            assert_eq!(kind(&bytes), Some(signature.kind.name));
            for (_, part) in signature.parts {
                assert!(part.len() <= MAX_PART && !part.is_empty());
            }
            // Without the last byte of one part, the file is another one or none.
            for (offset, part) in signature.parts {
                let mut changed = bytes.clone();
                changed[usize::try_from(*offset).unwrap() + part.len() - 1] ^= 0x80;
                assert_ne!(kind(&changed), Some(signature.kind.name));
            }
            assert!(!signature.kind.advice.is_empty() && !signature.kind.advice.ends_with('.'));
        }
    }

    #[test]
    fn other_files_have_no_kind() {
        for bytes in [&b""[..], b"\0", b"hello"] {
            assert_eq!(kind(bytes), None);
        }
        for byte in [0, 0xff] {
            assert_eq!(kind(&std::vec![byte; 0x1_0000]), None);
        }
    }

    #[test]
    fn a_fit_image_is_a_device_tree_with_images() {
        let tree = |node: &[u8]| {
            let mut bytes = [&DEVICE_TREE[..], &[0; 4], &[0, 0, 0, 0x38], &[0; 44]].concat();
            bytes.extend_from_slice(b"\0\0\0\x01\0\0\0\0\0\0\0\x03\0\0\0\x04\0\0\0\0\0\0\0\x01");
            bytes.extend_from_slice(node);
            bytes
        };
        assert_eq!(
            kind(&tree(b"\0\0\0\x01images\0\0")),
            Some("a FIT image of U-Boot")
        );
        assert_eq!(kind(&tree(b"\0\0\0\x01chosen\0\0")), Some("a device tree"));
        assert_eq!(kind(&tree(b"\0\0\0\x01image\0\0\0")), Some("a device tree"));
        // The structure block is past the end of the file.
        assert_eq!(kind(&DEVICE_TREE), Some("a device tree"));
        let mut past = tree(b"\0\0\0\x01images\0\0");
        past[8] = 0xff;
        assert_eq!(kind(&past), Some("a device tree"));
    }

    #[test]
    fn a_rom_ends_with_a_jump() {
        let rom = |len: usize, code: &[u8]| {
            let mut bytes = std::vec![0; len];
            bytes[len - 16..len - 16 + code.len()].copy_from_slice(code);
            kind(&bytes)
        };
        let firmware = Some("a firmware ROM");
        assert_eq!(rom(0x1_0000, &[0xea, 0x5b, 0xe0]), firmware);
        assert_eq!(rom(0x2_0000, &[0xe9, 0x10, 0xff]), firmware);
        assert_eq!(rom(0x200_0000, &[0x90, 0x90, 0xe9]), firmware);
        assert_eq!(rom(0x1_0000, &[0x90, 0x90, 0x90]), None);
        assert_eq!(rom(0x1_0000, &[0x90, 0xe9, 0xe9]), None);
        assert_eq!(rom(0x1_0001, &[0xea, 0x5b, 0xe0]), None);
        assert_eq!(rom(0x8000, &[0xea, 0x5b, 0xe0]), None);
        assert_eq!(rom(0x201_0000, &[0xea, 0x5b, 0xe0]), None);
    }

    #[test]
    fn a_kind_prints_name_and_advice() {
        let kind = FileKind {
            name: "a book",
            advice: "read it",
        };
        assert_eq!(kind.to_string(), "a book; read it");
    }
}
