//! Seeds for wrapped files: each codec, the samples of `Image` and zboot files, and uImage files of some of them.

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
    seeds
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
