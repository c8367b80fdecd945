//! Seeds for the parsers of arm64, riscv64 and zboot images.

use crate::Seed;
use crate::pe_parse::file_writer;

/// One small file of every kind that the parsers handle differently.
pub(crate) fn seeds() -> Vec<Seed> {
    file_writer::image_samples()
}
