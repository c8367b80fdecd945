//! A guest of a sandbox that copies the pages that it writes, with arbitrary page tables: snapshots are refused or have no more than pages for
//! copies, and a restore makes the sandbox what it was.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/sandbox/tests/fake/hostile_tables.rs"]
mod hostile_tables;

fuzz_target!(|data: &[u8]| {
    // More takes long, and shows nothing else.
    hostile_tables::run(data.get(..600).unwrap_or(data));
});
