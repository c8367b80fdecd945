//! Seeds for the parsers of arm64, riscv64 and zboot images.

use crate::pe_parse::file_writer;
use crate::seed::Seed;

/// A small file for each format and special case of the parsers.
pub(crate) fn seeds() -> Vec<Seed> {
    file_writer::image_samples()
}
