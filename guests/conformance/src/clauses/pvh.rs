//! Clauses about `hvm_start_info`, its modules and its memory map (Xen's `hvm/start_info.h`).

use clauses::memory::{MemoryMap, NamedRange};
use clauses::{check, fail, note, report};
use contract::{Blob, Expectation, MAX_MODULES};

use super::acpi;
use super::modules::{self, CHECKED_MODULES, Found};

use crate::machine::entry::EntryRecord;
use crate::machine::phys::Phys;

const MAGIC: u32 = 0x336e_c578;
const INFO_LEN: u64 = 56;
const MODULE_LEN: u64 = 32;
const MEMMAP_ENTRY_LEN: u64 = 24;

/// Address of the command line; 0 if there is none.
pub(crate) fn cmdline_address(record: &EntryRecord, phys: &mut Phys) -> u64 {
    phys.read_u64(record.rbx + 24)
}

/// Reads the memory map, if `hvm_start_info` has one.
pub(crate) fn read_map(record: &EntryRecord, phys: &mut Phys, map: &mut MemoryMap) {
    let info = record.rbx;
    if phys.read_u32(info) != MAGIC || phys.read_u32(info + 4) < 1 {
        return;
    }
    let (table, count) = (phys.read_u64(info + 40), u64::from(phys.read_u32(info + 48)));
    for index in 0..count.min(4096) {
        let entry = table.wrapping_add(index * MEMMAP_ENTRY_LEN);
        map.push(
            phys.read_u64(entry),
            phys.read_u64(entry.wrapping_add(8)),
            phys.read_u32(entry.wrapping_add(16)),
        );
    }
}

/// Checks `hvm_start_info` and the structures it points to, except the entries of the memory map. Returns the ranges in use.
pub(crate) fn check(
    record: &EntryRecord,
    phys: &mut Phys,
    expectation: &Expectation<'_>,
    cmdline: &[u8],
) -> [NamedRange; MAX_MODULES + 4] {
    let mut occupied = [("", 0, 0); MAX_MODULES + 4];
    let mut slots = occupied.iter_mut();
    let mut occupy = |name, start: u64, len: u64| {
        if let Some(slot) = slots.next() {
            *slot = (name, start, start.saturating_add(len));
        }
    };
    let info = record.rbx;
    report::check_equal("pvh.magic", phys.read_u32(info).into(), MAGIC.into());
    let version = phys.read_u32(info + 4);
    check!("pvh.version", version >= 1, "{version}"; "at least 1, which has the memory map");
    report::check_equal("pvh.flags", phys.read_u32(info + 8).into(), 0);
    report::check_equal("pvh.reserved", phys.read_u32(info + 52).into(), 0);
    occupy("start-info", info, INFO_LEN);

    let cmdline_address = cmdline_address(record, phys);
    note!("pvh.cmdline", "{} bytes at {cmdline_address:#x}", cmdline.len());
    if cmdline_address != 0 {
        occupy("cmdline", cmdline_address, cmdline.len() as u64 + 1);
    }

    let (table, entries) = (phys.read_u64(info + 40), u64::from(phys.read_u32(info + 48)));
    check!("pvh.memory-map", entries > 0 && table != 0, "{entries} entries at {table:#x}"; "a memory map");
    let dirty = (0..entries.min(4096))
        .find(|index| phys.read_u32(table.wrapping_add(index * MEMMAP_ENTRY_LEN).wrapping_add(20)) != 0);
    check!("pvh.memory-map-reserved", dirty.is_none(), "a nonzero reserved field in entry {}", dirty.unwrap_or(0);
        "zero reserved fields");
    occupy("memory-map", table, entries * MEMMAP_ENTRY_LEN);

    acpi::root(phys.read_u64(info + 32), phys, expectation.rsdp);

    let count = u64::from(phys.read_u32(info + 12));
    let list = phys.read_u64(info + 16);
    report::check_expected_address("pvh.modules", count, expectation.module_count);
    check!("pvh.module-list", count == 0 || list != 0, "a module list at address 0 for {count} modules"; "an address");
    match expectation.initrd {
        Some(Blob::Absent) => report::check_equal("pvh.no-initrd", count, 0),
        Some(Blob::Present(_)) if count == 0 => fail!("pvh.initrd", "no module"; "the initrd as module 0"),
        _ => {}
    }
    if count > 0 {
        occupy("module-list", list, count.saturating_mul(MODULE_LEN));
    }
    for index in 0..count.min(CHECKED_MODULES) {
        let entry = list.wrapping_add(index * MODULE_LEN);
        let (address, len) = (phys.read_u64(entry), phys.read_u64(entry.wrapping_add(8)));
        let cmdline_address = phys.read_u64(entry.wrapping_add(16));
        report::check_equal(
            format_args!("pvh.module.{index}.reserved"),
            phys.read_u64(entry.wrapping_add(24)),
            0,
        );
        note!(
            format_args!("pvh.module.{index}"),
            "{len} bytes at {address:#x}, command line at {cmdline_address:#x}"
        );
        occupy("module", address, len);
        let expected = modules::expected(index, expectation);
        let initrd = match expectation.initrd {
            Some(Blob::Present(content)) if index == 0 => Some(content),
            _ => None,
        };
        let found = Found {
            index,
            address,
            len,
            cmdline_address,
        };
        modules::check("pvh", &found, phys, expected, initrd);
    }
    modules::missing("pvh", count, expectation);
    occupied
}
