//! Properties that hold for any bytes.

use fmt_bzimage::{BzImage, BzImageError};
use fmt_test::{Change, Fields, apply, change};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::bzimage_writer::{CODE_LEN, Image, SETUP_LEN, VERSIONS};
use crate::invariants;

/// Parses `file` and checks the invariants of an accepted image.
fn parse(file: &[u8]) {
    match BzImage::parse(&file) {
        Ok(Some(kernel)) => {
            invariants::check(file, &kernel);
        }
        Ok(None) => {
            assert_ne!(file.get(0x202..0x206), Some(&b"HdrS"[..]));
        }
        Err(BzImageError::Read(error)) => panic!("a slice can be read: {error}"),
        Err(_) => {}
    }
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let fields = [
        0x1f4, 0x1f1, 0x20e, 0x214, 0x230, 0x234, 0x236, 0x248, 0x24c, 0x258, 0x25c, 0x260, 0x268, 0x1e04,
        0x1e08,
    ];
    let values = [0, 0x200, 0x1000, CODE_LEN as u32, 0x10_0000, 0x100_0000, 1 << 31];
    vec(change(&fields, &values), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn arbitrary_bytes_never_panic(words in vec(any::<u64>(), 0..0x50), cut in 0..8_usize) {
        let file = bytes(&words);
        parse(&file[..file.len().saturating_sub(cut)]);
    }

    /// Arbitrary bytes, except for magic numbers and fields where nearly every value is refused.
    #[test]
    fn arbitrary_headers_never_panic_and_give_valid_images(
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
        parse(&file);
    }

    #[test]
    fn changed_images_never_panic_and_give_valid_images(
        version in select(VERSIONS.to_vec()),
        changes in changes(),
    ) {
        let mut file = Image::new(version.0).build();
        apply(&mut file, &(0x1f1..0x26c), &changes);
        parse(&file);
    }
}
