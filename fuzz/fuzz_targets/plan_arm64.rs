//! An arbitrary machine, image, command line, initrd and tree: planning a boot on arm64 fails with an error, or the plan
//! keeps every rule of the boot document, says a checker that shares no code with the planner.

#![no_main]

#[path = "../../crates/proto-fdt/tests/support/boot.rs"]
mod boot;
#[path = "../../crates/proto-fdt/tests/support/machine.rs"]
mod machine;

use boot::Case;
use boot_core::Arch;
use libfuzzer_sys::fuzz_target;
use machine::Dice;

fuzz_target!(|data: &[u8]| {
    if let Err(error) = Case::new(&mut Dice(data), Arch::Aarch64).check() {
        assert!(!error.to_string().is_empty());
    }
});
