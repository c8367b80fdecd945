//! Properties of the planners with arbitrary images and machines: planning fails with an error, or the plan meets the
//! specification.

use std::cell::Cell;

use arbitrary::{Arbitrary, Unstructured};
use boot_core::BootProtocol;
use boot_test::contract::multiboot;
use boot_test::variations;
use boot_test::x86::{self, X86Boot};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use proto_multiboot::{PROTOCOL_MULTIBOOT, PROTOCOL_MULTIBOOT2};

#[test]
fn plans_keep_their_promises() {
    let counts = Cell::new([0u32; 4]);
    let count = |i: usize| {
        let mut new = counts.get();
        new[i] += 1;
        counts.set(new);
    };
    TestRunner::new(ProptestConfig::with_cases(5_000))
        .run(&proptest::collection::vec(any::<u8>(), 0..300), |bytes| {
            let u = &mut Unstructured::new(&bytes);
            let boot = X86Boot::arbitrary(u).unwrap();
            let Ok(image) = x86::image(u, &boot.machine.memory) else {
                return Ok(());
            };
            let Some(image) = boot_test::multiboot::with_headers(u, &image).unwrap() else {
                return Ok(());
            };
            let request = boot.request(&image);
            let protocols: [&dyn BootProtocol; 2] = [&PROTOCOL_MULTIBOOT, &PROTOCOL_MULTIBOOT2];
            for (i, protocol) in protocols.into_iter().enumerate() {
                match protocol.plan(&request) {
                    Ok(plan) => {
                        multiboot::check(&request, &plan).map_err(TestCaseError::fail)?;
                        prop_assert_eq!(&plan, &protocol.plan(&request).unwrap());
                        count(2 * i);
                        // Each variation costs as much as the plan itself.
                        if counts.get()[2 * i] % 8 == 0 {
                            variations::check(protocol, &request, &plan).map_err(TestCaseError::fail)?;
                        }
                    }
                    Err(error) => {
                        prop_assert!(!error.to_string().is_empty());
                        count(2 * i + 1);
                    }
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(
        counts.get().iter().all(|count| *count > 150),
        "too few of a kind: {counts:?}"
    );
}
