//! Guests of sandboxes for each architecture, and guests with one feature that is refused.

use fmt_test::elf::{EM_AARCH64, EM_RISCV, EM_X86_64, ET_DYN, Elf, PF_X, Phdr, notes};
use fmt_test::guest::{CODE, DATA_PHDR, Guest, NOTE_PHDR, function};

use crate::seed::Seed;

/// Sizes of the seeds: a heap of 256 MiB, a stack of 64 KiB and a window of 64 KiB.
const SIZES: [u8; 3] = [1, 64, 32];

pub(crate) fn seeds() -> Vec<Seed> {
    let with = |change: fn(&mut Elf)| {
        let mut elf = Guest::new(EM_X86_64).elf();
        change(&mut elf);
        elf
    };
    let mut many = Guest::new(EM_X86_64);
    many.exports = (0..64).map(|at| function(&format!("f{at}"), at, CODE)).collect();
    let header = |p_type| Phdr {
        p_type,
        ..notes(&[], 4)
    };
    let mut dynamic = with(|_| {});
    dynamic.phdrs.push(header(2));
    let mut threads = with(|_| {});
    threads.phdrs.push(header(7));
    [
        ("x86_64", Guest::new(EM_X86_64).elf()),
        ("arm64", Guest::new(EM_AARCH64).elf()),
        ("riscv64", Guest::new(EM_RISCV).elf()),
        ("many-functions", many.elf()),
        ("dynamic", dynamic),
        ("thread-local", threads),
        ("position-independent", with(|elf| elf.e_type = ET_DYN)),
        ("writable-code", with(|elf| elf.phdrs[DATA_PHDR].flags |= PF_X)),
        ("large-data", with(|elf| elf.phdrs[DATA_PHDR].memsz = 0xf00_0000)),
        (
            "two-notes",
            with(|elf| elf.phdrs[NOTE_PHDR].data.extend_from_within(..)),
        ),
    ]
    .map(|(name, elf)| (name, [&SIZES[..], &elf.bytes()].concat()))
    .to_vec()
}
