//! Containers that break the rules of their format, made by hand: "boot" as stored data of each codec.

use boot_core::Codec;
use decompress::{Problem, decompress};

/// A member without optional fields.
const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01\x04\0\xfb\xffboot\xc4\xae\xed\x46\x04\0\0\0";
/// A header with the checksum `CRC16`, before the rest of [`GZIP`].
const GZIP_HEADER: &[u8] = b"\x1f\x8b\x08\x02\0\0\0\0\0\x03\xa7\x77";
/// A frame with a checksum of its block and of its content.
const LZ4: &[u8] = b"\x04\x22\x4d\x18\x74\x40\xbd\x04\0\0\x80boot\x44\xd8\x42\x97\0\0\0\0\x44\xd8\x42\x97";
/// A legacy frame: one block of four literals.
const LZ4_LEGACY: &[u8] = b"\x02\x21\x4c\x18\x05\0\0\0\x40boot";
/// A frame with a checksum of its content.
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x04\x58\x21\0\0boot\xc4\xd1\x26\x08";
/// A stream with a CRC32.
const XZ: &[u8] =
    b"\xfd\x37\x7a\x58\x5a\0\0\x01\x69\x22\xde\x36\x02\0\x21\x01\x16\0\0\0\x74\x2f\xe5\xa3\x01\0\x03boot\0\
                    \xc4\xae\xed\x46\0\x01\x18\x04\x6b\xe9\xf0\xa5\x90\x42\x99\x0d\x01\0\0\0\0\x01\x59\x5a";

/// A member with an Adler-32 of its stored block.
const LZO: &[u8] = b"\x89LZO\0\r\n\x1a\n\x10\x40\x20\xa0\x09\x40\x03\x09\x03\0\0\x0d\0\0\0\0\x6b\x0a\xaf\x1c\0\0\0\0\0\x29\x4e\x02\xb6\0\0\0\x04\0\0\0\x04\
                     \x04\x2b\x01\xb5boot\0\0\0\0";

const SAMPLES: [(Codec, &[u8]); 6] = [
    (Codec::Gzip, GZIP),
    (Codec::Lz4Frame, LZ4),
    (Codec::Lz4Legacy, LZ4_LEGACY),
    (Codec::Zstd, ZSTD),
    (Codec::Xz, XZ),
    (Codec::Lzo, LZO),
];

/// Asserts where `input` is refused, and a part of the reason.
#[track_caller]
fn check(codec: Codec, input: &[u8], position: usize, problem: &str) {
    let error = decompress(codec, input, 100).unwrap_err();
    assert_eq!(error.position, position, "{error}");
    assert!(error.problem.to_string().contains(problem), "{error}");
}

/// `input` with these bytes at `at`.
fn patched(input: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut input = input.to_vec();
    input[at..at + bytes.len()].copy_from_slice(bytes);
    input
}

#[test]
fn samples_are_decompressed() {
    let with_header_checksum = [GZIP_HEADER, &GZIP[10..]].concat();
    for (codec, input) in SAMPLES.into_iter().chain([(Codec::Gzip, &*with_header_checksum)]) {
        let unpacked = decompress(codec, input, 4).unwrap();
        assert_eq!(
            (&*unpacked.bytes, unpacked.consumed),
            (&b"boot"[..], input.len()),
            "{codec}"
        );
    }
}

#[test]
fn a_limit_is_exact() {
    for (codec, input) in SAMPLES {
        let error = decompress(codec, input, 3).unwrap_err();
        assert_eq!(error.problem, Problem::TooLong { limit: 3 }, "{codec}");
    }
}

#[test]
fn several_members_are_one() {
    for (codec, input) in SAMPLES {
        let twice = [input, input].concat();
        let unpacked = decompress(codec, &twice, 8).unwrap();
        assert_eq!(
            (&*unpacked.bytes, unpacked.consumed),
            (&b"bootboot"[..], twice.len()),
            "{codec}"
        );
    }
}

/// The kernel's build appends the length of the data to that of codecs without one.
#[test]
fn an_appended_length_is_not_part_of_the_data() {
    for (codec, input) in SAMPLES {
        let appended = [input, &4_u32.to_le_bytes()].concat();
        let unpacked = decompress(codec, &appended, 4).unwrap();
        assert_eq!(
            (&*unpacked.bytes, unpacked.consumed),
            (&b"boot"[..], input.len()),
            "{codec}"
        );
    }
}

#[test]
fn data_of_another_kind_has_no_magic_number() {
    for (codec, input) in SAMPLES {
        check(codec, &patched(input, 1, b"?"), 0, "the magic number is missing");
    }
}

#[test]
fn data_may_not_end_early() {
    for (codec, input) in SAMPLES {
        for len in 6..input.len() {
            match decompress(codec, &input[..len], 100) {
                Err(error) => assert_eq!(error.problem, Problem::Truncated, "{codec} {len}"),
                // Up to four bytes behind the blocks of a legacy frame are the length that a kernel build appends.
                Ok(unpacked) => {
                    assert!(codec == Codec::Lz4Legacy && len <= 8, "{codec} {len}");
                    assert_eq!((unpacked.bytes.len(), unpacked.consumed), (0, 4));
                }
            }
        }
    }
}

#[test]
fn gzip_members_are_checked() {
    let check = |input: &[u8], position, problem| check(Codec::Gzip, input, position, problem);
    check(
        &patched(GZIP, 3, &[0x20]),
        0,
        "not supported (flags of the header",
    );
    check(&patched(GZIP, 10, &[0x07]), 11, "malformed (the deflate stream");
    check(&patched(GZIP, 15, b"B"), 19, "the checksum is 0x46edaec4");
    check(&patched(GZIP, 23, &[5]), 19, "malformed (the length of the data");
    let header = [&patched(GZIP_HEADER, 10, b"!"), &GZIP[10..]].concat();
    check(&header, 10, "the checksum is 0x7721, but the data has 0x77a7");
}

#[test]
fn lz4_frames_are_checked() {
    let check = |input: &[u8], position, problem| check(Codec::Lz4Frame, input, position, problem);
    check(
        &patched(LZ4, 4, &[0xb4]),
        4,
        "not supported (the version of the frame",
    );
    check(&patched(LZ4, 4, &[0x75]), 4, "not supported (a dictionary");
    check(&patched(LZ4, 5, &[0x30]), 4, "malformed (the block size 3");
    check(
        &patched(LZ4, 6, &[0]),
        6,
        "the checksum is 0x0, but the data has 0xbd",
    );
    check(
        &patched(LZ4, 7, &[1, 0, 1]),
        7,
        "malformed (a block of 65537 bytes",
    );
    check(&patched(LZ4, 15, b"!"), 7, "the checksum is 0x9742d821");
    check(&patched(LZ4, 23, b"!"), 23, "the checksum is 0x9742d821");
    let with_len = |len: u8| {
        let header = [0x04, 0x22, 0x4d, 0x18, 0x68, 0x40, len, 0, 0, 0, 0, 0, 0, 0, 0x00];
        [&header[..], b"\x04\0\0\x80boot\0\0\0\0"].concat()
    };
    check(
        &patched(&with_len(5), 14, &[CONTENT_SIZE_5]),
        27,
        "malformed (the length of the data",
    );
    // A block that refers to data before the first byte.
    let block = b"\x04\x22\x4d\x18\x60\x40\x82\x06\0\0\0\x10b\x09\0\x00\0\0\0\0\0";
    check(block, 7, "malformed (");
}

/// The checksum of a frame descriptor with version 1, independent blocks and a content size of 5.
const CONTENT_SIZE_5: u8 = 0x61;

#[test]
fn blocks_of_legacy_frames_are_checked() {
    let check = |len: u32, problem: &str| {
        check(
            Codec::Lz4Legacy,
            &patched(LZ4_LEGACY, 4, &len.to_le_bytes()),
            4,
            problem,
        );
    };
    check(0, "malformed (a block of 0 bytes");
    check(
        (8 << 20) + (8 << 20) / 255 + 17,
        "malformed (a block of 8421521 bytes",
    );
}

#[test]
fn zstandard_frames_are_checked() {
    // The decoder in C has other errors.
    let check = |input: &[u8], problem: &str, in_c: &str| {
        let error = decompress(Codec::Zstd, input, 100).unwrap_err();
        let problem = if cfg!(feature = "zstd-c") { in_c } else { problem };
        assert!(error.problem.to_string().contains(problem), "{error}");
    };
    check(
        &patched(ZSTD, 9, b"B"),
        "the checksum is 0x826d1c4",
        "malformed (Restored data doesn't match checksum",
    );
    // A dictionary with the identifier 7.
    let header = [b"\x28\xb5\x2f\xfd\x05\x58\x07".as_slice(), &ZSTD[6..]].concat();
    check(
        &header,
        "not supported (a dictionary, 0x7",
        "malformed (Dictionary mismatch",
    );
    // A block of the reserved type.
    check(
        &patched(ZSTD, 6, &[0x27]),
        "malformed (",
        "the data ends too early",
    );
}

#[test]
fn xz_streams_are_checked() {
    let check = |at: usize| {
        let input = patched(XZ, at, &[XZ[at] ^ 1]);
        let error = decompress(Codec::Xz, &input, 100).unwrap_err();
        assert!(
            matches!(error.problem, Problem::Malformed(_)),
            "byte {at}: {error}"
        );
    };
    // The flags of the stream, the header of the block, the data, its checksum, the index, and the footer.
    for at in [7, 12, 27, 32, 38, 47] {
        check(at);
    }
}

#[test]
fn lzo_members_are_checked() {
    // 0 1 2 3 4 5 6 7 8 | 9 version, 11 library, 13 needed, 15 method, 16 level, 17 flags, 21 mode, 25 and 29 mtime, 33 name, 34 checksum
    // | 38 length, 42 packed length, 46 checksum, 50 data | 54 end.
    let check = |at, bytes: &[u8], position, problem| {
        check(Codec::Lzo, &patched(LZO, at, bytes), position, problem);
    };
    check(13, b"\x10\x41", 9, "version 0x1041");
    check(15, b"\0", 15, "method 0");
    check(15, b"\x04", 15, "method 4");
    check(18, b"\0\x08", 17, "a filter");
    check(18, b"\0\x04", 17, "several parts");
    check(18, b"\0\0\x4d", 17, "an extra field");
    check(16, b"\x01", 34, "the checksum is");
    check(34, b"\0", 34, "the checksum is");
    // The checksum is a CRC-32 then.
    check(18, b"\0\x10", 34, "the checksum is 0x294e02b6");
    check(38, b"\x04\0\0\x01", 38, "a block of 67108865 bytes");
    check(42, b"\xff\0\0\0", 42, "a block of 4278190080 bytes");
    check(42, b"\0\0\0\x05", 38, "a block of 4 bytes in 5");
    check(46, b"\0", 38, "the checksum is 0x2b01b5");
    check(50, b"x", 38, "the checksum is 0x42b01b5");
}

/// Blocks that lie about their length, with the checksums of the header in order.
#[test]
fn blocks_of_lzo_are_what_they_declare() {
    /// A literal run of four bytes, and the end of the stream.
    const BLOCK: &[u8] = b"\x15boot\x11\0\0";
    const NO_CHECKS: &[u8] =
        b"\x89LZO\0\r\n\x1a\n\x10\x40\x20\xa0\x09\x40\x03\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x1e\xe1\x01\x66";
    let member = |len: u8| {
        let lengths = [[0, 0, 0, len], [0, 0, 0, 8]].concat();
        [NO_CHECKS, &lengths, BLOCK, &[0; 4]].concat()
    };
    check(Codec::Lzo, &member(9), 38, "a block of 9 bytes has 4");
    check(Codec::Lzo, &patched(&member(9), 46, b"\x1a"), 38, "lzo: ");
    let error = decompress(Codec::Lzo, &member(9), 8).unwrap_err();
    assert_eq!(error.problem, Problem::TooLong { limit: 8 });
}
