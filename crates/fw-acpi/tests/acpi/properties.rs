//! Properties of arbitrary bytes.

use proptest::prelude::*;

use crate::invariants::{check_aml, check_memory};
use crate::machine::{Hardware, memory, microvm, pc};

#[test]
fn the_samples_keep_the_invariants() {
    assert_eq!(check_aml(&microvm(8)).devices.len(), 9);
    assert_eq!(check_aml(&pc()).devices.len(), 2);
    assert!(check_memory(&memory(Hardware::Reduced, &microvm(8))));
    assert!(check_memory(&memory(Hardware::Fixed, &pc())));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_fault(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        check_aml(&bytes);
    }

    #[test]
    fn changed_blocks_are_no_fault(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        for mut aml in [microvm(2), pc()] {
            for (at, value) in &changes {
                let at = at.index(aml.len());
                aml[at] = *value;
            }
            check_aml(&aml);
        }
    }

    #[test]
    fn changed_tables_are_no_fault(changes in proptest::collection::vec((0..0x500_usize, any::<u8>()), 1..6)) {
        let mut bytes = memory(Hardware::Fixed, &pc());
        for (at, value) in changes {
            bytes[at] = value;
        }
        check_memory(&bytes);
    }
}
