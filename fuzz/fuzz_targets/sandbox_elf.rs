//! An arbitrary file as a guest of a sandbox, with arbitrary sizes: each step of a host fails with an error, or its result keeps every
//! promise. The checker shares no code with the planner.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto_sandbox::Sizes;

#[path = "../../crates/proto-sandbox/tests/guest/checks.rs"]
mod checks;

// The first bytes are the sizes of heap, stack and window; the rest is the file.
fuzz_target!(|data: &[u8]| {
    let Some(([heap, stack, window], file)) = data.split_first_chunk() else {
        return;
    };
    let sizes = Sizes {
        heap: u64::from(*heap) << 28 | u64::from(*stack),
        stack: u64::from(*stack) << 10,
        window: u32::from(*window) << 11,
    };
    checks::file(file, sizes);
});
