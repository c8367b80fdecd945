//! Seeds for the PE parser.

use crate::seed::Seed;

#[expect(dead_code, reason = "some functions are only for the tests")]
#[path = "../../../crates/fmt-pe/tests/parse/file_writer.rs"]
pub(crate) mod file_writer;

/// A small file for each special case of the parser.
pub(crate) fn seeds() -> Vec<Seed> {
    file_writer::pe_samples()
}
