//! An arbitrary riscv64 machine, image, command line, initrd and device tree: planning fails with an error, or the plan meets
//! every requirement of the boot document. The checker shares no code with the planner.

#![no_main]

mod fdt_tree;

use boot_core::Arch;
use boot_test::fdt::FdtBoot;
use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use proto_fdt::PROTOCOL_RISCV64;

fuzz_target!(|data: &[u8]| {
    let boot = FdtBoot::new(
        &mut Unstructured::new(data),
        Arch::Riscv64,
        fdt_tree::with_reservations,
    );
    if let Err(error) = boot.unwrap().check(&PROTOCOL_RISCV64) {
        assert!(!error.to_string().is_empty());
    }
});
