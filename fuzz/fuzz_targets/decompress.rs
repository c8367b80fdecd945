//! Arbitrary data of each codec: decompression never panics, and never returns more than the limit. The first two bytes are the codec and the limit.

#![no_main]

use boot_core::Codec;
use decompress::decompress;
use libfuzzer_sys::fuzz_target;

const CODECS: [Codec; 8] = [
    Codec::Gzip,
    Codec::Lzma,
    Codec::Xz,
    Codec::Lz4Legacy,
    Codec::Lz4Frame,
    Codec::Zstd,
    Codec::Lzo,
    Codec::Bzip2,
];

fuzz_target!(|data: &[u8]| {
    let [codec, limit, input @ ..] = data else {
        return;
    };
    let codec = CODECS[usize::from(*codec) % CODECS.len()];
    let limit = 1 << (limit % 23);
    match decompress(codec, input, limit) {
        Ok(unpacked) => assert!(unpacked.bytes.len() <= limit && unpacked.consumed <= input.len()),
        Err(error) => assert!(error.position <= input.len()),
    }
});
