//! A guest of a sandbox that sends arbitrary messages, while another thread changes them: calls fail with errors that poison the sandbox or
//! leave it ready, and a restore makes it usable again.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/sandbox/tests/fake/hostile.rs"]
mod hostile;

fuzz_target!(|data: &[u8]| {
    let Some((choice, script)) = data.split_first() else {
        return;
    };
    hostile::run(script, choice % 2 == 1);
});
