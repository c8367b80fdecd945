//! FAT volumes of each type, with and without defects.

use crate::seed::Seed;

#[expect(dead_code, reason = "some functions are only for the tests")]
#[path = "../../../crates/fs-fat/tests/fat/image_writer.rs"]
mod image_writer;

/// Volumes without the zeros at their end.
pub(crate) fn seeds() -> Vec<Seed> {
    image_writer::samples()
}
