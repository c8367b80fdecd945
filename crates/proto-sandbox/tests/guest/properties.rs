//! Properties of every guest.

use std::cell::Cell;

use fmt_test::elf::{EM_AARCH64, EM_RISCV, EM_X86_64, Elf, PT_LOAD};
use fmt_test::guest::{BASE, Guest, NOTE_PHDR};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use proto_sandbox::Sizes;

use crate::checks;

/// A guest whose segments have other lengths, places and flags.
fn guest() -> impl Strategy<Value = Elf> {
    let change = (any::<Index>(), 0u8..5, 0u64..0x40);
    let machine = select(vec![EM_X86_64, EM_AARCH64, EM_RISCV]);
    (machine, prop::collection::vec(change, 0..4)).prop_map(|(machine, changes)| {
        let mut elf = Guest::new(machine).elf();
        for (index, kind, by) in changes {
            let at = index.index(elf.phdrs.len());
            let phdr = &mut elf.phdrs[at];
            match kind {
                0 => phdr.memsz += by * 0x313,
                1 if phdr.p_type == PT_LOAD && by % 4 == 0 => phdr.flags = u32::try_from(by / 4 % 8).unwrap(),
                2 => {
                    phdr.vaddr = phdr.vaddr.wrapping_add(by * 0x400);
                    phdr.paddr = phdr.vaddr;
                }
                3 => phdr.data.truncate(usize::try_from(by * 0x40).unwrap()),
                _ => {
                    phdr.vaddr = BASE + (by << 22);
                    phdr.paddr = phdr.vaddr;
                }
            }
        }
        elf
    })
}

#[test]
fn guests_are_refused_or_follow_every_rule() {
    let counts = [Cell::new(0), Cell::new(0)];
    let sizes = (0u64..0x200, 1u64..0x40, 1u32..0x30);
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..2);
    TestRunner::new(ProptestConfig::with_cases(3000))
        .run(
            &(guest(), sizes, changes),
            |(elf, (heap, stack, window), changes)| {
                let (mut bytes, offsets) = elf.write();
                let note = usize::try_from(offsets[NOTE_PHDR]).unwrap();
                for (at, value) in changes {
                    let headers = 64 + 56 * 6;
                    let at = at.index(headers + 120);
                    let at = if at < headers { at } else { note + at - headers };
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = value;
                    }
                }
                let sizes = Sizes {
                    heap: heap << 19,
                    stack: stack << 12,
                    window: window << 12,
                };
                let is_guest = checks::file(&bytes, sizes);
                let count = &counts[usize::from(is_guest)];
                count.set(count.get() + 1);
                Ok(())
            },
        )
        .unwrap();
    let counts = counts.map(Cell::into_inner);
    assert!(
        counts.iter().all(|count| *count > 300),
        "too few of a kind: {counts:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut bytes = bytes;
        checks::file(&bytes, Sizes::default());
        if let Some(start) = bytes.get_mut(..7) {
            start.copy_from_slice(b"\x7fELF\x02\x01\x01");
        }
        checks::file(&bytes, Sizes::default());
    }
}
