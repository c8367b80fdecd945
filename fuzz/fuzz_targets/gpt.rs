//! Arbitrary disks: reading the partition table never panics and is bounded, and every table has the invariants of the tests.

#![no_main]

use disk::BlockSize;
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/disk/tests/disk/invariants.rs"]
mod invariants;
#[expect(dead_code, reason = "only `seal` is used here")]
#[path = "../../crates/disk/tests/disk/table_writer.rs"]
mod table_writer;

// The first byte selects the block size, and whether the checksums of the primary header are made valid.
fuzz_target!(|data: &[u8]| {
    let Some((choice, disk)) = data.split_first() else {
        return;
    };
    let block_size = if choice & 1 == 0 {
        BlockSize::B512
    } else {
        BlockSize::B4096
    };
    if choice & 2 == 0 {
        let _ = invariants::check(disk, block_size);
    } else {
        let mut disk = disk.to_vec();
        table_writer::seal(&mut disk, block_size, 1);
        let _ = invariants::check(&disk, block_size);
    }
});
