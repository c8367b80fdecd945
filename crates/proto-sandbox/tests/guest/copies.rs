//! Plans of guests that copy the pages that they write.

use boot_core::{Arch, GuestMemory};
use boot_paging::{Access, Pages};
use fmt_test::elf::{EM_AARCH64, EM_RISCV, EM_X86_64};
use fmt_test::guest::Guest;
use proto_sandbox::{Entry, GuestLayout, LayoutError, Size, Sizes, plan};
use sandbox_abi::{BootInfo, NoteFlags, ScratchState, layout};
use zerocopy::{FromZeros, IntoBytes};

use crate::checks;
use crate::image;

const PAGE: u64 = 0x1000;

fn guest(machine: u16) -> Guest {
    Guest {
        flags: NoteFlags::COPIES_PAGES.bits(),
        ..Guest::new(machine)
    }
}

#[test]
fn memory_is_copied_and_the_exchange_is_writable() {
    for machine in [EM_X86_64, EM_AARCH64, EM_RISCV] {
        let elf = guest(machine).elf();
        let image = image(&elf);
        for (heap, scratch) in [(4 << 20, 0x1234), (64 << 20, 100 << 20), (3 << 30, 1 << 30)] {
            let sizes = Sizes {
                heap,
                ..Sizes::default()
            };
            let before = GuestLayout::new(&image, &sizes).unwrap();
            let layout = before.clone().with_scratch(&image, scratch).unwrap();
            // All but tables and scratch area stays where it is.
            assert_eq!(
                (layout.memory, layout.outbox, layout.tables.start()),
                (before.memory, before.outbox, before.tables.start())
            );
            assert_eq!((before.scratch.len(), before.copies()), (0, (0, 0)));
            assert_eq!(layout.scratch.start(), layout.tables.end());
            assert_eq!(layout.exchange.end(), layout.scratch.end());
            let unit = if layout.arch == Arch::Aarch64 {
                0x1_0000
            } else {
                PAGE
            };
            assert_eq!(layout.exchange.end() % unit, 0);
            let (copies, count) = layout.copies();
            assert_eq!(copies, layout.scratch.start() + PAGE + layout::FAULT_STACK);
            assert_eq!(
                copies + (count + ScratchState::RESERVE) * PAGE,
                layout.scratch.end()
            );
            assert!((scratch..scratch + 0x1_1000).contains(&(count * PAGE)));

            let start = plan(&image, &layout, &Entry::new(image.arch())).unwrap();
            assert!(start.tables.tables().len() as u64 * PAGE <= layout.tables.len());
            let page = |addr| start.tables.translate(addr).unwrap();
            // The stack of exception handlers has memory that is not copied.
            let stack = page(layout.fault_stack.start());
            assert_eq!(
                (stack.phys, stack.attributes.access),
                (layout.scratch.start() + PAGE, Access::WRITE)
            );
            for addr in [
                layout.tables.start(),
                layout.scratch.start(),
                layout.scratch.end() - 1,
                layout.outbox.start(),
            ] {
                assert_eq!(page(addr).translate(addr), Some(addr));
                assert_eq!(page(addr).attributes.access, Access::WRITE);
            }
            let mut copied = 0;
            for found in Pages::new(start.tables.scheme(), start.tables.root(), 0x400, |addr| {
                start.tables.read(addr)
            }) {
                let found = found.unwrap();
                let access = found.attributes.access;
                let is_memory = layout.memory.contains_addr(found.phys);
                assert!(!(is_memory && access.contains(Access::WRITE)), "{found:?}");
                assert_eq!(
                    access.contains(Access::COPY_ON_WRITE),
                    is_memory && access != Access::empty()
                );
                if access.contains(Access::COPY_ON_WRITE) {
                    copied += found.size.bytes();
                }
            }
            assert!(copied >= layout.stack.len() + layout.heap.len());

            let memory = checks::load(layout.memory_map(), &start.plan, &elf.bytes());
            let mut info = BootInfo::new_zeroed();
            memory.read(layout::BOOT_INFO, info.as_mut_bytes()).unwrap();
            assert_eq!(info.scratch.get(), layout.scratch.start());
            assert_eq!((info.copies.get(), info.copy_count.get()), (copies, count));
            if layout.arch == Arch::X86_64 {
                let word = |addr| {
                    let mut bytes = [0; 8];
                    memory.read(addr, &mut bytes).unwrap();
                    u64::from_le_bytes(bytes)
                };
                // Interrupt stacks 1 and 2 of the task state segment; gates of page faults and of another vector.
                let stacks = [36, 44].map(|offset| word(layout::GDT + 0x400 + offset));
                assert_eq!(stacks, [layout.fault_stack.end(), layout.scratch.start() + PAGE]);
                let stack_of = |vector: u64| word(layout::IDT + vector * 16) >> 32 & 7;
                assert_eq!([13, 14].map(stack_of), [1, 2]);
            }
        }
    }
}

#[test]
fn guests_without_handlers_and_wrong_sizes_are_refused() {
    let elf = Guest::new(EM_X86_64).elf();
    let without = image(&elf);
    let layout = |image| GuestLayout::new(image, &Sizes::default()).unwrap();
    let error = layout(&without).with_scratch(&without, 0x10_0000).unwrap_err();
    assert_eq!(error, LayoutError::NoCopies);
    assert!(error.to_string().contains("COPIES_PAGES"), "{error}");
    let image = image(&guest(EM_X86_64).elf());
    for len in [0, Sizes::MAX_SCRATCH + 1, u64::MAX] {
        let error = layout(&image).with_scratch(&image, len).unwrap_err();
        assert!(
            matches!(error, LayoutError::Size { size: Size::Scratch, found, .. } if found == len),
            "{error}"
        );
    }
    layout(&image).with_scratch(&image, Sizes::MAX_SCRATCH).unwrap();
}

/// The flag that handlers look for is that of the page tables.
#[test]
fn flags_are_those_of_the_interface() {
    for (machine, flag) in [
        (EM_X86_64, sandbox_abi::COPY_FLAG_X86_64),
        (EM_AARCH64, sandbox_abi::COPY_FLAG_AARCH64),
        (EM_RISCV, sandbox_abi::COPY_FLAG_RISCV64),
    ] {
        let image = image(&guest(machine).elf());
        let layout = GuestLayout::new(&image, &Sizes::default()).unwrap();
        let layout = layout.with_scratch(&image, 0x10_0000).unwrap();
        let start = plan(&image, &layout, &Entry::new(image.arch())).unwrap();
        let words = start.tables.tables().iter().flatten();
        let flagged = words.filter(|entry| **entry & flag != 0).count();
        // The stack has as many pages, the heap two of 2 MiB, and there are some of data.
        assert!(flagged as u64 > layout.stack.len() / PAGE + 2, "{flagged}");
    }
}
