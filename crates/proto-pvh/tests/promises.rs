//! Whatever the image and the machine are: planning fails with an error, or the plan keeps every promise.

#[path = "../../boot-core/tests/plans/case.rs"]
mod case;
#[macro_use]
#[path = "../../boot-core/tests/plans/check.rs"]
mod check;
#[path = "contract/check.rs"]
mod contract;
#[path = "../../boot-core/tests/plans/view.rs"]
mod view;

use std::cell::Cell;

use boot_core::{BootProtocol, EntryAbi};
use case::{Case, Dice};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use proto_pvh::PROTOCOL;

#[test]
fn plans_keep_their_promises() {
    let (kept, refused) = (Cell::new(0), Cell::new(0));
    TestRunner::new(ProptestConfig::with_cases(10_000))
        .run(&proptest::collection::vec(any::<u8>(), 0..300), |bytes| {
            let dice = &mut Dice(&bytes);
            let case = Case::new(dice);
            let Some(image) = case::image(dice, &case.machine.memory) else {
                return Ok(());
            };
            let request = case.request(&image);
            match PROTOCOL.plan(&request) {
                Ok(plan) => {
                    check::plan(&request, &plan).map_err(TestCaseError::fail)?;
                    contract::contract(&request, &plan).map_err(TestCaseError::fail)?;
                    prop_assert_eq!(&plan, &PROTOCOL.plan(&request).unwrap());
                    kept.set(kept.get() + 1);
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
        "the dice are loaded: {counts:?}"
    );
}
