//! Arbitrary input.

use boot_core::Codec;
use decompress::{MAX_WINDOW, Problem, decompress};
use proptest::prelude::*;

const CODECS: [Codec; 9] = [
    Codec::Stored,
    Codec::Gzip,
    Codec::Bzip2,
    Codec::Lzma,
    Codec::Xz,
    Codec::Lzo,
    Codec::Lz4Legacy,
    Codec::Lz4Frame,
    Codec::Zstd,
];

/// Starts of data of each codec.
const STARTS: [&[u8]; 12] = [
    b"",
    b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
    b"\x1f\x8b\x08\x1e",
    b"\xfd7zXZ\0\0\x01\x69\x22\xde\x36",
    b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x02\x21\x4c\x18",
    b"\x04\x22\x4d\x18\x60\x40\x82",
    b"\x28\xb5\x2f\xfd\x20",
    b"\x50\x2a\x4d\x18\x01\0\0\0",
    b"BZh9\x31\x41\x59\x26\x53\x59",
    b"\x89LZO\0\r\n\x1a\n\x10\x40\x20\xa0\x09\x40\x03\x09",
    // A whole header of LZO without a name.
    &LZO_HEADER,
];

/// A header of lzop without a name, for blocks without checksums.
const LZO_HEADER: [u8; 38] =
    *b"\x89LZO\0\r\n\x1a\n\x10\x40\x20\xa0\x09\x40\x03\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x1e\xe1\x01\x66";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn arbitrary_input_ends_in_an_error_or_bounded_data(
        codec in proptest::sample::select(&CODECS),
        start in proptest::sample::select(&STARTS),
        rest in proptest::collection::vec(any::<u8>(), 0..300),
        limit in 0..100_000usize,
    ) {
        let input = [start, &rest].concat();
        match decompress(codec, &input, limit) {
            Ok(unpacked) => {
                prop_assert!(unpacked.bytes.len() <= limit);
                prop_assert!(unpacked.consumed <= input.len());
            }
            Err(error) => prop_assert!(error.position <= input.len()),
        }
    }
}

#[cfg(not(feature = "bzip2"))]
#[test]
fn codecs_without_a_decoder_are_named() {
    let error = decompress(Codec::Bzip2, b"", 9).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bzip2 data, at byte 0: no decoder for it is built in"
    );
}

#[test]
fn windows_and_dictionaries_are_bounded() {
    // A frame of Zstandard with a window of 256 MiB, and a dictionary of LZMA of 512 MiB.
    let check = |codec, input: &[u8]| {
        let error = decompress(codec, input, 1 << 20).unwrap_err();
        assert_eq!(
            error.problem,
            Problem::Memory { limit: MAX_WINDOW },
            "{codec}: {error}"
        );
    };
    // The decoder in C has no window of its own.
    if !cfg!(feature = "zstd-c") {
        check(Codec::Zstd, b"\x28\xb5\x2f\xfd\0\x90\0\0\0\0");
    }
    check(
        Codec::Lzma,
        b"\x5d\0\0\0\x20\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0",
    );
}

#[test]
fn stored_data_is_copied() {
    assert_eq!(decompress(Codec::Stored, b"boot", 4).unwrap().bytes, b"boot");
    let error = decompress(Codec::Stored, b"boot", 3).unwrap_err();
    assert_eq!(error.problem, Problem::TooLong { limit: 3 });
}
