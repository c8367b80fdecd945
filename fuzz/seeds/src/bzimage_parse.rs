//! Seeds for the bzImage parser.

use crate::seed::Seed;

#[path = "../../../crates/fmt-bzimage/tests/parse/bzimage_writer.rs"]
mod bzimage_writer;

/// One small kernel of every boot protocol version and of every kind that the parser handles differently.
pub(crate) fn seeds() -> Vec<Seed> {
    bzimage_writer::samples()
}
