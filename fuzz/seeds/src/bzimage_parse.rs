//! Seeds for the bzImage parser.

use crate::seed::Seed;

#[path = "../../../crates/fmt-bzimage/tests/parse/image.rs"]
mod image;

/// One small kernel for every boot protocol version and for every kind that the parser treats in its own way.
pub(crate) fn seeds() -> Vec<Seed> {
    image::samples()
}
