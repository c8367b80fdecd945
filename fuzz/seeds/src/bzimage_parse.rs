//! Seeds for the bzImage parser.

use crate::seed::Seed;

#[path = "../../../crates/fmt-bzimage/tests/parse/image.rs"]
mod image;

/// A small kernel for each boot protocol version, and for each special case of the parser.
pub(crate) fn seeds() -> Vec<Seed> {
    image::samples()
}
