//! Arbitrary partitions: reading a FAT file system never panics and is bounded, and directories and files have the invariants of the
//! tests.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/fs-fat/tests/fat/invariants.rs"]
mod invariants;

/// Length of the partition: zeros follow the input.
const LEN: u64 = 8 << 20;

fuzz_target!(|data: &[u8]| {
    if let Ok(found) = invariants::check(data, LEN) {
        assert!(
            found
                .files
                .iter()
                .all(|(path, len)| path.starts_with('/') && *len <= LEN)
        );
    }
});
