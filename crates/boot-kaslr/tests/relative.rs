//! Relative relocations of small position-independent kernels.

use boot_core::{Arch, Endian, EntryAbi, GuestRange, ImageBuilder, KernelImage, SourceRange};
use boot_kaslr::{RelativeError, relocate_relative};
use fmt_test::elf::{EM_AARCH64, EM_RISCV, EM_X86_64, Elf, RELA, position_independent, xwords};
use proptest::prelude::*;

/// Address of the first byte as linked.
const BASE: u64 = 0x20_0000;
/// Length of the segment in the file.
const LEN: usize = 0x100;

/// An entry of `DT_RELA`: place, type with symbol, addend.
type Entry = [u64; 3];

struct Kernel {
    elf: Elf,
    image: KernelImage,
    file: Vec<u8>,
    /// Offsets of the segment and of the dynamic section in the file.
    offset: usize,
    dynamic: usize,
}

/// A kernel with this table; `change` may change the file before it is written.
fn kernel(machine: u16, big_endian: bool, entries: &[Entry], change: impl FnOnce(&mut Elf)) -> Kernel {
    let mut elf = position_independent(machine, big_endian, BASE, entries);
    change(&mut elf);
    let (file, offsets) = elf.write();
    let arch = match machine {
        EM_X86_64 => Arch::X86_64,
        EM_AARCH64 => Arch::Aarch64,
        _ => Arch::Riscv64,
    };
    let endian = if big_endian { Endian::Big } else { Endian::Little };
    let image = ImageBuilder::new("elf", arch, endian, file.len() as u64)
        .segment(
            SourceRange::new(offsets[0], LEN as u64).unwrap(),
            GuestRange::new(BASE, 0x200).unwrap(),
        )
        .entry(EntryAbi::ELF64, BASE)
        .build()
        .unwrap();
    let [offset, dynamic] = [offsets[0], offsets[1]].map(|offset| usize::try_from(offset).unwrap());
    Kernel {
        elf,
        image,
        file,
        offset,
        dynamic,
    }
}

fn place(index: u64) -> u64 {
    BASE + index * 8
}

#[test]
fn addresses_move_with_the_kernel() {
    let check = |machine, big_endian, relative| {
        let entries = [
            [place(0), relative, BASE + 0x10],
            [0, 0, 0],
            [place(2), relative, BASE + 0xff],
        ];
        let mut kernel = kernel(machine, big_endian, &entries, |_| {});
        let before = kernel.file.clone();
        assert_eq!(relocate_relative(&kernel.image, &mut kernel.file, BASE), Ok(0));
        assert_eq!(kernel.file, before);
        for start in [BASE + 0x1234_5000, 0x1000] {
            assert_eq!(relocate_relative(&kernel.image, &mut kernel.file, start), Ok(2));
            let mut expected = before.clone();
            let values = [start + 0x10, 0, start + 0xff];
            expected[kernel.offset..][..24].copy_from_slice(&xwords(&values, big_endian));
            assert_eq!(kernel.file, expected);
        }
    };
    check(EM_X86_64, false, 8);
    check(EM_AARCH64, false, 1027);
    check(EM_AARCH64, true, 1027);
    check(EM_RISCV, false, 3);
}

#[test]
fn entries_are_checked_before_one_is_applied() {
    let good = [place(0), 8, BASE];
    let check = |bad: Entry, error| {
        let mut kernel = kernel(EM_X86_64, false, &[good, bad], |_| {});
        let before = kernel.file.clone();
        let found = relocate_relative(&kernel.image, &mut kernel.file, BASE + 0x1000);
        assert_eq!(found, Err(error));
        assert_eq!(kernel.file, before);
    };
    let kind = |symbol, kind| RelativeError::Type {
        index: 1,
        symbol,
        kind,
    };
    check([place(1), 6, 0], kind(0, 6));
    check([place(1), 1 << 32 | 8, 0], kind(1, 8));
    let at = |addr| RelativeError::Place { index: 1, addr };
    check([BASE - 8, 8, 0], at(BASE - 8));
    // The last byte is not in the file, and in the part that becomes zeros.
    check([BASE + LEN as u64 - 7, 8, 0], at(BASE + LEN as u64 - 7));
    check([u64::MAX, 8, 0], at(u64::MAX));
}

/// Found by `arbitrary_changes_never_panic`: the first entry changed those behind it, which were checked before.
#[test]
fn places_are_not_in_the_table() {
    let check = |addr, is_in_table| {
        let mut kernel = kernel(EM_X86_64, false, &[[addr, 8, BASE]; 3], |_| {});
        let before = kernel.file.clone();
        let found = relocate_relative(&kernel.image, &mut kernel.file, BASE + 0x1000);
        if is_in_table {
            assert_eq!(found, Err(RelativeError::InTable { index: 0, addr }));
            assert_eq!(kernel.file, before);
        } else {
            assert_eq!(found, Ok(3));
        }
    };
    let [start, end] = [BASE + RELA, BASE + RELA + 3 * 24];
    check(start - 8, false);
    check(start - 7, true);
    check(BASE + 81, true);
    check(end - 1, true);
    check(end, false);
}

#[test]
fn tables_are_in_the_file() {
    let check = |at: usize, value: u64, error| {
        let mut kernel = kernel(EM_X86_64, false, &[[place(0), 8, BASE]], |_| {});
        let field = kernel.dynamic + at;
        kernel.file[field..field + 8].copy_from_slice(&xwords(&[value], false));
        let found = relocate_relative(&kernel.image, &mut kernel.file, BASE + 0x1000);
        assert_eq!(found, Err(error));
    };
    check(40, 16, RelativeError::EntryLen { found: 16 });
    let table = |addr, len| RelativeError::Table { addr, len };
    check(8, 0, table(0, 24));
    check(8, u64::MAX, table(u64::MAX, 24));
    // The zeros behind the table are `R_*_NONE`.
    check(24, u64::MAX, table(BASE + RELA, u64::MAX));
}

#[test]
fn other_kernels_stay_as_they_are() {
    let entries = [[place(0), 8, BASE]];
    let check = |change: fn(&mut Elf)| {
        let mut kernel = kernel(EM_X86_64, false, &entries, change);
        let before = kernel.file.clone();
        assert_eq!(relocate_relative(&kernel.image, &mut kernel.file, 0x1000), Ok(0));
        assert_eq!(kernel.file, before, "{:?}", kernel.elf);
    };
    // ET_EXEC.
    check(|elf| elf.e_type = 2);
    // No PT_DYNAMIC.
    check(|elf| elf.phdrs[1].p_type = 0);
    // Virtual addresses of its own.
    check(|elf| {
        elf.phdrs[0].vaddr = BASE << 12;
        elf.entry = BASE << 12;
    });
    let mut kernel = kernel(EM_X86_64, false, &entries, |_| {});
    kernel.file.push(0);
    let error = RelativeError::OtherFile {
        expected: kernel.file.len() as u64 - 1,
        found: kernel.file.len(),
    };
    assert_eq!(relocate_relative(&kernel.image, &mut kernel.file, 0), Err(error));
}

proptest! {
    #[test]
    fn arbitrary_changes_never_panic(
        changes in proptest::collection::vec((0..LEN + 0x100, any::<u8>()), 1..20),
        start in any::<u64>(),
    ) {
        let mut kernel = kernel(EM_X86_64, false, &[[place(0), 8, BASE]; 3], |_| {});
        for (at, value) in changes {
            let len = kernel.file.len();
            kernel.file[at % len] = value;
        }
        let before = kernel.file.clone();
        if relocate_relative(&kernel.image, &mut kernel.file, start).is_err() {
            prop_assert_eq!(kernel.file, before);
        }
    }
}
