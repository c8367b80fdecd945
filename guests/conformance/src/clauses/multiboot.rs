//! Clauses about the boot information of Multiboot 1 (Multiboot 0.6.96, 3.3) and Multiboot2 (Multiboot2 2.0, 3.6).

mod parts;
mod v1;
mod v2;

use clauses::memory::MemoryMap;
use contract::{Entry, Expectation};
use parts::OccupiedRanges;

use crate::machine::entry::EntryRecord;
use crate::machine::phys::Phys;

/// Address of the command line; 0 if there is none.
pub(crate) fn cmdline_address(record: &EntryRecord, phys: &mut Phys) -> u64 {
    match record.entry() {
        Entry::Multiboot => v1::cmdline_address(record.rbx, phys),
        _ => v2::cmdline_address(record.rbx, phys),
    }
}

/// Reads the memory map, if there is one.
pub(crate) fn read_map(record: &EntryRecord, phys: &mut Phys, map: &mut MemoryMap) {
    match record.entry() {
        Entry::Multiboot => v1::read_map(record.rbx, phys, map),
        _ => v2::read_map(record.rbx, phys, map),
    }
}

/// Checks the boot information, except the entries of the memory map. Returns the ranges in use.
pub(crate) fn check_all(
    record: &EntryRecord,
    phys: &mut Phys,
    expectation: &Expectation<'_>,
    cmdline: &[u8],
    map: &MemoryMap,
) -> OccupiedRanges {
    let mut occupied = OccupiedRanges::new();
    match record.entry() {
        Entry::Multiboot => v1::check(record, phys, expectation, cmdline, map, &mut occupied),
        _ => v2::check(record, phys, expectation, map, &mut occupied),
    }
    occupied
}
