//! For arbitrary images and machines, planning fails with an error or the plan meets every requirement of the protocol.

use std::cell::Cell;

use arbitrary::{Arbitrary, Unstructured};
use boot_core::{BootProtocol, EntryAbi};
use boot_test::contract::pvh;
use boot_test::promises;
use boot_test::variations;
use boot_test::x86::{self, X86Boot};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use proto_pvh::PROTOCOL;

#[test]
fn plans_meet_the_requirements() {
    let (kept, refused) = (Cell::new(0), Cell::new(0));
    TestRunner::new(ProptestConfig::with_cases(10_000))
        .run(&proptest::collection::vec(any::<u8>(), 0..300), |bytes| {
            let u = &mut Unstructured::new(&bytes);
            let boot = X86Boot::arbitrary(u).unwrap();
            let Ok(image) = x86::image(u, &boot.machine.memory) else {
                return Ok(());
            };
            let request = boot.request(&image);
            match PROTOCOL.plan(&request) {
                Ok(plan) => {
                    promises::plan(&request, &plan).map_err(TestCaseError::fail)?;
                    pvh::check(&request, &plan).map_err(TestCaseError::fail)?;
                    prop_assert_eq!(&plan, &PROTOCOL.plan(&request).unwrap());
                    kept.set(kept.get() + 1);
                    // Each variation costs as much as the plan itself.
                    if kept.get() % 8 == 0 {
                        variations::check(&PROTOCOL, &request, &plan).map_err(TestCaseError::fail)?;
                    }
                }
                Err(error) => {
                    prop_assert!(!error.to_string().is_empty());
                    refused.set(refused.get() + u32::from(image.entry(EntryAbi::PVH).is_some()));
                }
            }
            Ok(())
        })
        .unwrap();
    let counts = [kept.get(), refused.get()];
    assert!(
        counts.iter().all(|count| *count > 300),
        "too few of a kind: {counts:?}"
    );
}
