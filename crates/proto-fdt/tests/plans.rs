//! For arbitrary boots, planning fails with an error or the plan meets every requirement of the boot document.

use std::cell::Cell;

use arbitrary::Unstructured;
use boot_core::{Arch, BootProtocol, GuestRange, Machine};
use boot_test::fdt::FdtBoot;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use proto_fdt::device_tree::DeviceTree;
use proto_fdt::{Chosen, PROTOCOL_ARM64, PROTOCOL_RISCV64, create_fdt};

/// The tree of `machine`, with further memory reservations.
fn tree(machine: &Machine, reservations: Vec<GuestRange>) -> Vec<u8> {
    let bytes = create_fdt(machine, &Chosen::new()).unwrap();
    let mut tree = DeviceTree::parse(&bytes).unwrap();
    tree.memory_reservations = reservations;
    tree.to_bytes().unwrap()
}

fn check(arch: Arch, protocol: &dyn BootProtocol) {
    let planned = Cell::new(0u32);
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(10_000)
    });
    let bytes = proptest::collection::vec(any::<u8>(), 0..500);
    runner
        .run(&bytes, |bytes| {
            let boot = FdtBoot::new(&mut Unstructured::new(&bytes), arch, tree).unwrap();
            if boot.check(protocol).is_ok() {
                planned.set(planned.get() + 1);
                // Each variation costs as much as the plan itself.
                if planned.get() % 8 == 0 {
                    boot.check_variations(protocol);
                }
            }
            Ok(())
        })
        .unwrap();
    println!("{arch}: {} of 10000 boots can be planned", planned.get());
    assert!(planned.get() > 4_000, "only {} plans to check", planned.get());
}

#[test]
fn arm64_plans_meet_the_requirements() {
    check(Arch::Aarch64, &PROTOCOL_ARM64);
}

#[test]
fn riscv64_plans_meet_the_requirements() {
    check(Arch::Riscv64, &PROTOCOL_RISCV64);
}
