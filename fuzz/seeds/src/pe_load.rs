//! Seeds for the loader of EFI images.

use crate::pe_parse::file_writer;
use crate::seed::Seed;

/// The seeds of the PE parser, each after a load address of 2 MiB in pages.
pub(crate) fn seeds() -> Vec<Seed> {
    let page = 512_u64.to_le_bytes();
    let seed = |(name, file): Seed| (name, [page.as_slice(), &file].concat());
    file_writer::pe_samples().into_iter().map(seed).collect()
}
