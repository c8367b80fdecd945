//! Disks with partition tables of each kind, with and without defects.

use crate::seed::Seed;

#[expect(dead_code, reason = "some functions are only for the tests")]
#[path = "../../../crates/disk/tests/disk/table_writer.rs"]
mod table_writer;

/// The choice of the block size, without new checksums, and a disk.
pub(crate) fn seeds() -> Vec<Seed> {
    let samples = table_writer::samples().into_iter();
    samples
        .map(|(name, block_size, disk)| {
            let choice = u8::from(block_size != disk::BlockSize::B512);
            (name, [&[choice], &disk[..]].concat())
        })
        .collect()
}
