//! Seeds for the PE parser.

use crate::seed::Seed;

#[expect(dead_code, reason = "the tests use more of it than the samples do")]
#[path = "../../../crates/fmt-pe/tests/parse/file.rs"]
pub(crate) mod file;

/// One small file for every kind that the parser treats in its own way.
pub(crate) fn seeds() -> Vec<Seed> {
    file::pe_samples()
}
