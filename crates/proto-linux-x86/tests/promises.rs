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

use boot_core::BootProtocol;
use case::{Case, Dice};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use proto_linux_x86::{EntryChoice, LinuxX86};

#[test]
fn plans_keep_their_promises() {
    let (long, protected, refused) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let add_one = |count: &Cell<u32>| count.set(count.get() + 1);
    TestRunner::new(ProptestConfig::with_cases(10_000))
        .run(&proptest::collection::vec(any::<u8>(), 0..300), |bytes| {
            let dice = &mut Dice(&bytes);
            let protocol = LinuxX86::new().with_entry(dice.pick(&[
                EntryChoice::Auto,
                EntryChoice::Only64Bit,
                EntryChoice::Only32Bit,
            ]));
            let mut case = Case::new(dice);
            if !dice.one_in(16) {
                case.modules.clear();
            }
            let Some(image) = case::image(dice, &case.machine.memory) else {
                return Ok(());
            };
            let request = case.request(&image);
            match protocol.plan(&request) {
                Ok(plan) => {
                    check::plan(&request, &plan).map_err(TestCaseError::fail)?;
                    contract::contract(&request, &plan).map_err(TestCaseError::fail)?;
                    prop_assert_eq!(&plan, &protocol.plan(&request).unwrap());
                    let is_long = plan.to_string().contains("page tables");
                    add_one(if is_long { &long } else { &protected });
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
        "the dice are loaded: {counts:?}"
    );
}
