//! Whatever the image and the machine are: planning fails with an error, or the plan keeps every promise.

#[path = "../../boot-core/tests/plans/case.rs"]
mod case;
#[macro_use]
#[path = "../../boot-core/tests/plans/check.rs"]
#[expect(dead_code, reason = "a Multiboot2 kernel moves by a rule of its own")]
mod check;
#[path = "contract/check.rs"]
mod contract;
#[path = "contract/headers.rs"]
mod headers;
#[path = "../../boot-core/tests/plans/view.rs"]
mod view;

use std::cell::Cell;

use boot_core::BootProtocol;
use case::{Case, Dice};
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
            let dice = &mut Dice(&bytes);
            let case = Case::new(dice);
            let Some(image) =
                case::image(dice, &case.machine.memory).and_then(|image| headers::add(dice, &image))
            else {
                return Ok(());
            };
            let request = case.request(&image);
            let protocols: [&dyn BootProtocol; 2] = [&PROTOCOL_MULTIBOOT, &PROTOCOL_MULTIBOOT2];
            for (i, protocol) in protocols.into_iter().enumerate() {
                match protocol.plan(&request) {
                    Ok(plan) => {
                        contract::contract(&request, &plan).map_err(TestCaseError::fail)?;
                        prop_assert_eq!(&plan, &protocol.plan(&request).unwrap());
                        count(2 * i);
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
        "the dice are loaded: {counts:?}"
    );
}
