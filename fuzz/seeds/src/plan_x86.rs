//! Seeds for planning: kernel files on a PC, and generated images.

use fmt_test::pseudo_random;

use crate::seed::Seed;
use crate::{bzimage_parse, elf_parse};

/// All kernels of the parser seeds, and pseudo-random inputs, each of which describes a machine and an image.
pub(crate) fn seeds() -> Vec<Seed> {
    let files = elf_parse::seeds().into_iter().chain(bzimage_parse::seeds());
    let files = files.map(|(name, file)| (name, [&on_a_pc()[..], &file].concat()));
    files
        .chain(
            NAMES
                .into_iter()
                .zip(0..)
                .map(|(name, i)| (name, made_up(i, 200))),
        )
        .collect()
}

const NAMES: [&str; 8] = [
    "made-up-0",
    "made-up-1",
    "made-up-2",
    "made-up-3",
    "made-up-4",
    "made-up-5",
    "made-up-6",
    "made-up-7",
];

/// Prefix of a file: 64 bytes that describe a PC with more than 256 MiB and an initrd of 1 MiB.
fn on_a_pc() -> [u8; 65] {
    let mut prefix = [0; 65];
    prefix[..9].copy_from_slice(&[1, 0, 28, 0, 0, 0, 2, 20, 0]);
    prefix
}

/// `len` pseudo-random bytes behind a zero.
pub(crate) fn made_up(seed: u64, len: usize) -> Vec<u8> {
    [vec![0], pseudo_random(seed, len)].concat()
}
