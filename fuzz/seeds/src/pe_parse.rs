//! Seeds for the PE parser.

use crate::Seed;

#[expect(dead_code, reason = "the tests use more of it than the samples do")]
#[path = "../../../crates/fmt-pe/tests/parse/file_writer.rs"]
pub(crate) mod file_writer;

/// One small file of every kind that the parser handles differently.
pub(crate) fn seeds() -> Vec<Seed> {
    file_writer::pe_samples()
}
