//! Arbitrary notes and tables.

use std::collections::BTreeSet;

use boot_core::Arch;
use boot_sandbox::{GuestNote, read_functions};
use fmt_test::elf::EM_X86_64;
use fmt_test::guest::{BASE, Guest};
use proptest::prelude::*;

use crate::File;

/// Changes of single bytes: position and value.
fn changes(len: usize) -> impl Strategy<Value = Vec<(usize, u8)>> {
    let value = prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0x40)];
    prop::collection::vec((0..len, value), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn arbitrary_descriptors_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        for arch in [Arch::X86_64, Arch::Aarch64, Arch::Riscv64] {
            if let Err(error) = GuestNote::parse(arch, &bytes) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn changed_tables_are_refused_or_keep_every_bound(
        records in changes(0x8c), note in changes(96), start in 0u64..0x90,
    ) {
        let mut file = File::new(Arch::X86_64, &Guest::new(EM_X86_64));
        for (at, value) in records {
            if at < 130 {
                file.patch(at, &[value]);
            }
        }
        if start < 0x50 {
            file.descriptor[24..32].copy_from_slice(&(BASE + start).to_le_bytes());
        }
        for (at, value) in note {
            file.descriptor[at] = value;
        }
        if file.guest().is_err() {
            return Ok(());
        }
        match read_functions(&file.bytes, &file.image()) {
            Ok(table) => {
                for functions in [&table.exports, &table.imports] {
                    let names: BTreeSet<_> = functions.iter().map(|function| &function.name).collect();
                    prop_assert_eq!(names.len(), functions.len());
                    for function in functions {
                        prop_assert!((1..=255).contains(&function.name.len()));
                        prop_assert!(function.flags.bits() <= 1);
                        prop_assert!(function.flags.bits() == 0 || function.signature == 0);
                    }
                }
                prop_assert!(table.imports.iter().all(|function| function.address == 0));
                prop_assert!(table.exports.iter().all(|function| function.address >= BASE));
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
