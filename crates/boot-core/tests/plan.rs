//! A plan is built if and only if it holds every invariant, for arbitrary images, machines and loads.

use std::cell::Cell;

use arbitrary::{Arbitrary, Unstructured};
use boot_core::cpu::x86_64::State;
use boot_core::{
    BootFile, Constraints, GuestRange, Load, LoadContent, PlacedKernel, PlanBuilder, RamAllocator,
    SourceRange,
};
use boot_test::odds::{number, one_in, pick, repeat};
use boot_test::promises;
use boot_test::x86::{self, X86Boot};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// An arbitrary load, often close to the kernel or to the bounds of a memory region.
fn load(u: &mut Unstructured<'_>, boot: &X86Boot, kernel: GuestRange) -> arbitrary::Result<Load> {
    let near: Vec<u64> = boot
        .machine
        .memory
        .regions()
        .iter()
        .flat_map(|region| [region.range.start(), region.range.end()])
        .chain([kernel.start(), kernel.end(), 0, 1 << 32])
        .collect();
    let len = number(u, 24)? - u64::from(one_in(u, 8)?);
    let mut start = pick(u, &near)?;
    if one_in(u, 2)? {
        start = start.saturating_sub(len);
    }
    if one_in(u, 2)? {
        start = start.saturating_add(number(u, 20)?);
    }
    let range = GuestRange::new(start, len).unwrap();
    let constraints = if one_in(u, 2)? {
        Constraints::aligned(pick(u, &[1, 2, 8, 0x1000, 0x1000, 0, 3])?).between(
            pick(u, &[0, 0x1000, start, start + 1])?,
            pick(
                u,
                &[u64::MAX, 1 << 32, range.end(), range.end() - u64::from(len > 0)],
            )?,
        )
    } else {
        Constraints::NONE
    };
    let odd = u64::from(one_in(u, 8)?);
    let content = match u.int_in_range(0..=3u8)? {
        0 if len < 0x1_0000 => LoadContent::Bytes(vec![0; usize::try_from(len + odd).unwrap()]),
        1 => LoadContent::File {
            id: pick(u, &[BootFile::Kernel, BootFile::Initrd, BootFile::Module(0)])?,
            range: SourceRange::new(number(u, 10)? - 1, len + odd).unwrap(),
        },
        _ => LoadContent::Zeros,
    };
    Ok(Load::new(range, content, "load", constraints))
}

#[test]
fn plans_hold_their_invariants_and_none_is_refused_without_reason() {
    let (kept, refused) = (Cell::new(0), Cell::new(0));
    TestRunner::new(ProptestConfig::with_cases(10_000))
        .run(&proptest::collection::vec(any::<u8>(), 0..300), |bytes| {
            let u = &mut Unstructured::new(&bytes);
            let boot = X86Boot::arbitrary(u).unwrap();
            let Ok(image) = x86::image(u, &boot.machine.memory) else {
                return Ok(());
            };
            let request = boot.request(&image);
            let mut allocator = RamAllocator::new(&boot.machine.memory);
            let Ok(kernel) = PlacedKernel::place(&image, &mut allocator) else {
                return Ok(());
            };
            let entry = kernel.address(image.entries()[0].addr).unwrap();
            let builder = PlanBuilder::new("test", &request, &kernel).cpu(State::long_mode(entry, 0, 8, 16));
            let bare = builder.clone().build();
            let bare = bare.map_err(|error| TestCaseError::fail(format!("the kernel alone: {error}")))?;
            promises::plan(&request, &bare).map_err(TestCaseError::fail)?;

            let count = u.int_in_range(0..=3).unwrap();
            let extra = repeat(count, || load(u, &boot, kernel.extent())).unwrap();
            let all: Vec<_> = bare.loads().iter().chain(&extra).cloned().collect();
            let verdict = promises::loads(&request, &all, kernel.extent());
            match extra.into_iter().fold(builder, PlanBuilder::load).build() {
                Ok(plan) => {
                    kept.set(kept.get() + 1);
                    promises::plan(&request, &plan).map_err(TestCaseError::fail)?;
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
        "too few of a kind: {kept} plans kept, {refused} refused"
    );
}
