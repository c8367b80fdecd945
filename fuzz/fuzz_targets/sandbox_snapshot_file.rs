//! An arbitrary file as a snapshot of a sandbox: it is refused with an error, or sandboxes start from it, return to it, and it can be saved
//! again.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/sandbox/tests/fake/snapshot_file.rs"]
mod snapshot_file;

use snapshot_file::HEADER_LEN;

// The first byte chooses whether the checksum and the length in the header are corrected; the rest is the file.
fuzz_target!(|data: &[u8]| {
    let Some((choice, file)) = data.split_first() else {
        return;
    };
    let mut file = file.to_vec();
    if choice % 2 == 1 && file.len() > HEADER_LEN {
        let len = file.len() as u64;
        file[16..24].copy_from_slice(&len.to_le_bytes());
        snapshot_file::fix_checksum(&mut file);
    }
    snapshot_file::check_file(&file);
});
