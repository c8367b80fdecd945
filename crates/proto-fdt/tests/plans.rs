//! A plan keeps every rule of the boot documents, or there is none.

#[path = "support/boot.rs"]
mod boot;
#[path = "support/machine.rs"]
mod machine;

use std::cell::Cell;

use boot::Case;
use boot_core::Arch;
use machine::Dice;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

fn check(arch: Arch) {
    let planned = Cell::new(0u32);
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(10_000)
    });
    let bytes = proptest::collection::vec(any::<u8>(), 0..500);
    runner
        .run(&bytes, |bytes| {
            let case = Case::new(&mut Dice(&bytes), arch);
            if case.check().is_ok() {
                planned.set(planned.get() + 1);
            }
            Ok(())
        })
        .unwrap();
    println!("{arch}: {} of 10000 boots can be planned", planned.get());
    assert!(planned.get() > 4_000, "only {} plans to check", planned.get());
}

#[test]
fn arm64_plans_keep_the_rules() {
    check(Arch::Aarch64);
}

#[test]
fn riscv64_plans_keep_the_rules() {
    check(Arch::Riscv64);
}
