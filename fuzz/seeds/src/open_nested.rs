//! Seeds for wrapped files: each codec, the samples of `Image` and zboot files, and uImage and FIT files of some of them.

use crate::decompress;
use crate::pe_parse::file_writer;
use crate::seed::Seed;

/// Files of one and of two layers.
pub(crate) fn seeds() -> Vec<Seed> {
    // Behind the two bytes for the target `decompress`.
    let mut seeds: Vec<Seed> = decompress::seeds()
        .into_iter()
        .map(|(name, bytes)| (name, bytes[2..].to_vec()))
        .collect();
    let gzip = seeds[0].1.clone();
    seeds.extend(file_writer::image_samples());
    seeds.push(("uimage", uimage(0, &gzip)));
    seeds.push(("uimage-gzip", uimage(1, &gzip)));
    seeds.push(("fit", fit(&gzip)));
    seeds
}

/// A FIT image with a kernel that is compressed with gzip, its CRC-32, and a default configuration.
fn fit(data: &[u8]) -> Vec<u8> {
    const NAMES: &[u8] = b"data\0compression\0algo\0value\0default\0kernel\0";
    let mut structure = Vec::new();
    let mut word = |word: u32, text: &[u8]| {
        structure.extend_from_slice(&word.to_be_bytes());
        structure.extend_from_slice(text);
        structure.resize(structure.len().next_multiple_of(4), 0);
    };
    let crc = crc32fast::hash(data).to_be_bytes();
    let len = |value: &[u8]| u32::try_from(value.len()).expect("a small sample").to_be_bytes();
    let name = |name: &str| {
        let at = NAMES
            .windows(name.len())
            .position(|window| window == name.as_bytes());
        u32::try_from(at.expect("a name of the table"))
            .expect("a small table")
            .to_be_bytes()
    };
    let property = |property: &str, value: &[u8]| [&len(value)[..], &name(property), value].concat();
    word(1, b"\0");
    word(1, b"images\0");
    word(1, b"k\0");
    word(3, &property("data", data));
    word(3, &property("compression", b"gzip\0"));
    word(1, b"hash\0");
    word(3, &property("algo", b"crc32\0"));
    word(3, &property("value", &crc));
    (0..3).for_each(|_| word(2, b""));
    word(1, b"configurations\0");
    word(3, &property("default", b"c\0"));
    word(1, b"c\0");
    word(3, &property("kernel", b"k\0"));
    (0..3).for_each(|_| word(2, b""));
    word(9, b"");
    let strings = 40 + structure.len();
    let total = strings + NAMES.len();
    let words = [
        0xd00d_feed,
        total,
        40,
        strings,
        40,
        17,
        16,
        0,
        NAMES.len(),
        structure.len(),
    ];
    let words = words.map(|word| u32::try_from(word).expect("a small sample").to_be_bytes());
    [words.as_flattened(), &structure, NAMES].concat()
}

/// A uImage with a kernel of this compression.
fn uimage(compression: u8, data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).expect("a small sample");
    let mut file = vec![0; 64];
    file[..4].copy_from_slice(&0x2705_1956_u32.to_be_bytes());
    file[12..16].copy_from_slice(&len.to_be_bytes());
    file[24..28].copy_from_slice(&crc32fast::hash(data).to_be_bytes());
    file[28..32].copy_from_slice(&[5, 22, 2, compression]);
    let header = crc32fast::hash(&file);
    file[4..8].copy_from_slice(&header.to_be_bytes());
    file.extend_from_slice(data);
    file
}
