//! For arbitrary images and machines, planning fails with an error or the plan meets every requirement of the protocol.

use std::cell::Cell;

use arbitrary::{Arbitrary, Unstructured};
use boot_core::BootProtocol;
use boot_test::contract::linux_x86;
use boot_test::odds::{one_in, pick};
use boot_test::promises;
use boot_test::variations;
use boot_test::x86::{self, X86Boot};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use proto_linux_x86::{EntryChoice, LinuxX86};

#[test]
fn plans_meet_the_requirements() {
    let (long, protected, refused) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let add_one = |count: &Cell<u32>| count.set(count.get() + 1);
    TestRunner::new(ProptestConfig::with_cases(10_000))
        .run(&proptest::collection::vec(any::<u8>(), 0..300), |bytes| {
            let u = &mut Unstructured::new(&bytes);
            let protocol = LinuxX86::new().with_entry(
                pick(
                    u,
                    &[EntryChoice::Auto, EntryChoice::Only64Bit, EntryChoice::Only32Bit],
                )
                .unwrap(),
            );
            let mut boot = X86Boot::arbitrary(u).unwrap();
            if !one_in(u, 16).unwrap() {
                boot.modules.clear();
            }
            let Ok(image) = x86::image(u, &boot.machine.memory) else {
                return Ok(());
            };
            let request = boot.request(&image);
            match protocol.plan(&request) {
                Ok(plan) => {
                    promises::plan(&request, &plan).map_err(TestCaseError::fail)?;
                    linux_x86::check(&request, &plan).map_err(TestCaseError::fail)?;
                    prop_assert_eq!(&plan, &protocol.plan(&request).unwrap());
                    let is_long = plan.to_string().contains("page tables");
                    add_one(if is_long { &long } else { &protected });
                    // Each variation costs as much as the plan itself.
                    if (long.get() + protected.get()) % 8 == 0 {
                        variations::check(&protocol, &request, &plan).map_err(TestCaseError::fail)?;
                    }
                }
                Err(error) => {
                    prop_assert!(!error.to_string().is_empty());
                    add_one(&refused);
                }
            }
            Ok(())
        })
        .unwrap();
    let counts = [long.get(), protected.get(), refused.get()];
    assert!(
        counts.iter().all(|count| *count > 300),
        "too few of a kind: {counts:?}"
    );
}
