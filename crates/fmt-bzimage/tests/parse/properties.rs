//! What holds for any bytes.

use fmt_bzimage::{BzImage, BzImageError};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::image::{CODE_LEN, Image, SETUP_LEN, VERSIONS};
use crate::promises;

/// Reads `file`, which must not panic, and checks the promises of what is accepted. Whether it was.
fn read(file: &[u8]) -> bool {
    match BzImage::read(&file) {
        Ok(Some(kernel)) => {
            promises::check(file, &kernel);
            true
        }
        Ok(None) => {
            assert_ne!(file.get(0x202..0x206), Some(&b"HdrS"[..]));
            false
        }
        Err(BzImageError::Read(error)) => panic!("a slice can be read: {error}"),
        Err(_) => false,
    }
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A change of a good image.
#[derive(Clone, Debug)]
enum Change {
    /// One byte of the header becomes another.
    HeaderByte(Index, u8),
    /// One byte of the file becomes another.
    Byte(Index, u8),
    /// Four bytes, at the offset of a field, become a number that is near some limit.
    Field(usize, u32),
    /// The file is cut.
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let fields = [
        0x1f4, 0x1f1, 0x20e, 0x214, 0x230, 0x234, 0x236, 0x248, 0x24c, 0x258, 0x25c, 0x260, 0x268, 0x1e04,
        0x1e08,
    ];
    let near = select(vec![
        0u32,
        0x200,
        0x1000,
        CODE_LEN as u32,
        0x10_0000,
        0x100_0000,
        1 << 31,
    ]);
    let near = (near, -17_i32..=17).prop_map(|(n, delta)| n.wrapping_add_signed(delta));
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, to)| Change::HeaderByte(at, to)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, to)| Change::Byte(at, to)),
        (select(fields.to_vec()), near).prop_map(|(at, to)| Change::Field(at, to)),
        any::<Index>().prop_map(Change::Cut),
    ]
}

fn apply(file: &mut Vec<u8>, change: &Change) {
    if file.is_empty() {
        return;
    }
    match change {
        Change::HeaderByte(at, to) => {
            let at = 0x1f1 + at.index(0x26c - 0x1f1);
            if let Some(byte) = file.get_mut(at) {
                *byte = *to;
            }
        }
        Change::Byte(at, to) => {
            let at = at.index(file.len());
            file[at] = *to;
        }
        Change::Field(at, to) => {
            if let Some(field) = file.get_mut(*at..*at + 4) {
                field.copy_from_slice(&to.to_le_bytes());
            }
        }
        Change::Cut(at) => file.truncate(at.index(file.len())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn arbitrary_bytes_never_panic(words in vec(any::<u64>(), 0..0x50), cut in 0..8_usize) {
        let file = bytes(&words);
        read(&file[..file.len().saturating_sub(cut)]);
    }

    /// Arbitrary bytes, but in the magic numbers and where nearly every value is refused.
    #[test]
    fn arbitrary_headers_never_panic_and_keep_their_promises(
        words in vec(any::<u64>(), 16),
        version in select(VERSIONS.to_vec()),
        length_byte in 0x22..0x80_u8,
        code_len in 0..0x400_usize,
        align in 0..32_u8,
        (min_alignment, payload_offset, payload_len) in (0..32_u8, 0..0x200_u32, 0..0x200_u32),
    ) {
        let header = bytes(&words);
        let code: Vec<u8> = header.iter().copied().cycle().take(code_len).collect();
        let file = Image::new(version.0)
            .bytes(0x1f1, &header[..0x26c - 0x1f1])
            .u8(0x1f1, 2)
            .u32(0x1f4, (code_len / 16) as u32)
            .u16(0x1fe, 0xaa55)
            .bytes(0x200, &[0xeb, length_byte])
            .bytes(0x202, b"HdrS")
            .u16(0x206, version.0)
            .u8(0x211, header[0] | 1)
            .u32(0x230, 1 << align)
            .u8(0x235, min_alignment)
            .u32(0x248, payload_offset)
            .u32(0x24c, payload_len)
            .u64(0x258, words[0] >> (words[1] % 64))
            .u32(0x268, 0)
            .bytes(SETUP_LEN, &code)
            .resize(SETUP_LEN + code_len)
            .build();
        read(&file);
    }

    #[test]
    fn changed_images_never_panic_and_keep_their_promises(
        version in select(VERSIONS.to_vec()),
        changes in vec(change(), 1..6),
    ) {
        let mut file = Image::new(version.0).build();
        for change in &changes {
            apply(&mut file, change);
        }
        read(&file);
    }
}
