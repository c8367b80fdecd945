//! Arbitrary partitions: reading an ext4 file system never panics and is bounded, and directories and files have the invariants of the
//! tests.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/fs-ext4/tests/ext4/invariants.rs"]
mod invariants;

/// Length of the partition: zeros follow the input.
const LEN: u64 = 8 << 20;

fuzz_target!(|data: &[u8]| {
    if let Ok(found) = invariants::check(data, LEN) {
        assert!(found.files.iter().all(|(path, _)| path.starts_with('/')));
    }
});
