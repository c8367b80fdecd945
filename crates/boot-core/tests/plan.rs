//! A plan is handed out exactly when it keeps every promise, for arbitrary images, machines and loads.

#[path = "plans/case.rs"]
mod case;
#[path = "plans/check.rs"]
mod check;

use std::cell::Cell;

use boot_core::cpu::x86_64::State;
use boot_core::{
    BootFile, Constraints, GuestRange, Load, LoadContent, PlacedKernel, PlanBuilder, RamAllocator,
    SourceRange,
};
use case::{Case, Dice};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// A load that may be anything, though often near something that is there.
fn load(dice: &mut Dice<'_>, case: &Case, kernel: GuestRange) -> Load {
    let near: Vec<u64> = case
        .machine
        .memory
        .regions()
        .iter()
        .flat_map(|region| [region.range.start(), region.range.end()])
        .chain([kernel.start(), kernel.end(), 0, 1 << 32])
        .collect();
    let len = dice.number(24) - u64::from(dice.one_in(8));
    let mut start = dice.pick(&near);
    if dice.one_in(2) {
        start = start.saturating_sub(len);
    }
    if dice.one_in(2) {
        start = start.saturating_add(dice.number(20));
    }
    let range = GuestRange::new(start, len).unwrap();
    let constraints = if dice.one_in(2) {
        Constraints::aligned(dice.pick(&[1, 2, 8, 0x1000, 0x1000, 0, 3])).between(
            dice.pick(&[0, 0x1000, start, start + 1]),
            dice.pick(&[u64::MAX, 1 << 32, range.end(), range.end() - u64::from(len > 0)]),
        )
    } else {
        Constraints::NONE
    };
    let odd = u64::from(dice.one_in(8));
    let content = match dice.byte() % 4 {
        0 if len < 0x1_0000 => LoadContent::Bytes(vec![0; usize::try_from(len + odd).unwrap()]),
        1 => LoadContent::File {
            id: dice.pick(&[BootFile::Kernel, BootFile::Initrd, BootFile::Module(0)]),
            range: SourceRange::new(dice.number(10) - 1, len + odd).unwrap(),
        },
        _ => LoadContent::Zeros,
    };
    Load::new(range, content, "load", constraints)
}

#[test]
fn plans_keep_their_promises_and_none_is_refused_without_reason() {
    let (kept, refused) = (Cell::new(0), Cell::new(0));
    TestRunner::new(ProptestConfig::with_cases(10_000))
        .run(&proptest::collection::vec(any::<u8>(), 0..300), |bytes| {
            let dice = &mut Dice(&bytes);
            let case = Case::new(dice);
            let Some(image) = case::image(dice, &case.machine.memory) else {
                return Ok(());
            };
            let request = case.request(&image);
            let mut allocator = RamAllocator::new(&case.machine.memory);
            let Ok(kernel) = PlacedKernel::place(&image, &mut allocator) else {
                return Ok(());
            };
            let entry = kernel.address(image.entries()[0].addr).unwrap();
            let builder = PlanBuilder::new("test", &request, &kernel).cpu(State::long_mode(entry, 0, 8, 16));
            let bare = builder.clone().build();
            let bare = bare.map_err(|error| TestCaseError::fail(format!("the kernel alone: {error}")))?;
            check::plan(&request, &bare).map_err(TestCaseError::fail)?;

            let extra: Vec<_> = (0..dice.byte() % 4)
                .map(|_| load(dice, &case, kernel.extent()))
                .collect();
            let all: Vec<_> = bare.loads().iter().chain(&extra).cloned().collect();
            let verdict = check::loads(&request, &all, kernel.extent());
            match extra.into_iter().fold(builder, PlanBuilder::load).build() {
                Ok(plan) => {
                    kept.set(kept.get() + 1);
                    check::plan(&request, &plan).map_err(TestCaseError::fail)?;
                    prop_assert_eq!(plan.loads().len(), all.len());
                    prop_assert!(plan.loads().is_sorted_by_key(|load| load.range));
                    prop_assert!(!plan.to_string().is_empty());
                }
                Err(error) => {
                    refused.set(refused.get() + 1);
                    prop_assert!(verdict.is_err(), "refused without reason: {}", error);
                }
            }
            Ok(())
        })
        .unwrap();
    let (kept, refused) = (kept.get(), refused.get());
    assert!(
        kept > 500 && refused > 500,
        "the dice are loaded: {kept} plans kept, {refused} refused"
    );
}
