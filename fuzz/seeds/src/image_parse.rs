//! Seeds for the parsers of arm64, riscv64 and zboot images.

use crate::pe_parse::file;
use crate::seed::Seed;

/// One small file for every kind that the parsers treat in their own way.
pub(crate) fn seeds() -> Vec<Seed> {
    file::image_samples()
}
