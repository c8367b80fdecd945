//! Seeds for decompression: the same text in each codec, made by the usual tools.

use crate::seed::Seed;

/// Name, number of the codec, and data.
const PACKED: [(&str, u8, &[u8]); 6] = [
    (
        "gzip",
        0,
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03KT\xc8N-\xcaK\xcd\xd1QH\x1c\x11,\x00\xda5nc\xf0\x00\x00\x00",
    ),
    (
        "lzma",
        1,
        b"]\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x000\x88\x09f\x94St\xb6qi\xd8\xe6%\xb3G2\xff\xff\
          \xfc\xd2\xd0\x00",
    ),
    (
        "xz",
        2,
        b"\xfd7zXZ\x00\x00\x01i\x22\xde6\x02\x01\x04\x00!\x01\x10\x00\x8b!oI\xe0\x00\xef\x00\x11]\x000\x88\x09\
          f\x94St\xb6qi\xd8\xe6%\xac\x85\x80\x00\x00\x00\x00\x00\xda5nc\x00\x01)\xf0\x01\x00\x00\x00\x1b\xb7~\
          \x13>0\x0d\x8b\x02\x00\x00\x00\x00\x01YZ",
    ),
    (
        "lz4-legacy",
        3,
        b"\x02!L\x18\x14\x00\x00\x00\xafa kernel, \x0a\x00\xcePnel, ",
    ),
    (
        "lz4-frame",
        4,
        b"\x04\x22M\x18t@\xbd\x14\x00\x00\x00\xafa kernel, \x0a\x00\xcePnel, Z)\xe1\x15\x00\x00\x00\x00\xdbO\
          \x91p",
    ),
    (
        "zstd",
        5,
        b"(\xb5/\xfd\x04h\x8d\x00\x00Pa kernel, \x01\x00\xe3R\x05\x09\xdfb\xf8\x81",
    ),
];

/// The data with the largest limit, behind the two bytes that the target expects.
pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |(name, codec, packed): (&'static str, u8, &[u8])| (name, [&[codec, 22], packed].concat());
    PACKED.map(seed).to_vec()
}
