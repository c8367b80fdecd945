//! The information structure of Multiboot 1 (Multiboot 0.6.96, 3.3).

use clauses::memory::MemoryMap;
use clauses::{check, fail, note, report};
use contract::Expectation;

use super::parts::{OccupiedRanges, loader_name, memory_sizes, module, module_count};
use crate::clauses::modules::{CHECKED_MODULES, string_len};
use crate::machine::entry::EntryRecord;
use crate::machine::phys::Phys;

const MAGIC: u64 = 0x2bad_b002;
const MODULE_LEN: u64 = 16;
/// Maximum length of the string of a module.
const MAX_STRING: u64 = 4096;
/// Minimum of `size` in a memory map entry: the length of all specified fields without `size` itself.
const ENTRY_LEN: u32 = 20;

const MEMORY: u32 = 1 << 0;
const CMDLINE: u32 = 1 << 2;
const MODULES: u32 = 1 << 3;
const AOUT_SYMBOLS: u32 = 1 << 4;
const ELF_SECTIONS: u32 = 1 << 5;
const MEMORY_MAP: u32 = 1 << 6;
const BOOT_LOADER_NAME: u32 = 1 << 9;
const VBE: u32 = 1 << 11;
const FRAMEBUFFER: u32 = 1 << 12;
const DEFINED: u32 = 0x1fff;

fn has(info: u64, flag: u32, phys: &mut Phys) -> bool {
    phys.read_u32(info) & flag != 0
}

/// The 32-bit field at `offset` of a structure.
fn field(info: u64, offset: u64, phys: &mut Phys) -> u64 {
    phys.read_u32(info + offset).into()
}

pub(super) fn cmdline_address(info: u64, phys: &mut Phys) -> u64 {
    if has(info, CMDLINE, phys) {
        field(info, 16, phys)
    } else {
        0
    }
}

pub(super) fn read_map(info: u64, phys: &mut Phys, map: &mut MemoryMap) {
    if !has(info, MEMORY_MAP, phys) {
        return;
    }
    let (len, start) = (field(info, 44, phys), field(info, 48, phys));
    let mut at = start;
    while at < start + len {
        map.push(
            phys.read_u64(at + 4),
            phys.read_u64(at + 12),
            phys.read_u32(at + 20),
        );
        at += 4 + u64::from(phys.read_u32(at));
    }
}

pub(super) fn check(
    record: &EntryRecord,
    phys: &mut Phys,
    expectation: &Expectation<'_>,
    cmdline: &[u8],
    map: &MemoryMap,
    occupied: &mut OccupiedRanges,
) {
    let info = record.rbx;
    report::check_equal("multiboot.magic", record.rax, MAGIC);
    let flags = phys.read_u32(info);
    note!("multiboot.flags", "{flags:#x}");
    report::check_equal("multiboot.flags-reserved", (flags & !DEFINED).into(), 0);
    check!("multiboot.symbols", flags & (AOUT_SYMBOLS | ELF_SECTIONS) != AOUT_SYMBOLS | ELF_SECTIONS,
        "both flag 4 and flag 5"; "at most one of them");
    // The structure ends with its last valid field.
    let len = match flags {
        flags if flags & FRAMEBUFFER != 0 => 116,
        flags if flags & VBE != 0 => 88,
        _ => 72,
    };
    occupied.push("information", info, len);

    // The headers of all guests require memory sizes (flag 1).
    check!("multiboot.memory", flags & MEMORY != 0, "flags {flags:#x}"; "flag 0, memory sizes, which the header requires");
    let (lower, upper) = (phys.read_u32(info + 4), phys.read_u32(info + 8));
    memory_sizes("multiboot", lower, upper, expectation, map);
    check!("multiboot.memory-map", flags & MEMORY_MAP != 0, "flags {flags:#x}"; "flag 6, a memory map");
    if flags & MEMORY_MAP != 0 {
        memory_map(info, phys, occupied);
    }

    let cmdline_at = cmdline_address(info, phys);
    note!("multiboot.cmdline", "{} bytes at {cmdline_at:#x}", cmdline.len());
    if cmdline_at != 0 {
        occupied.push("cmdline", cmdline_at, cmdline.len() as u64 + 1);
    }
    if flags & BOOT_LOADER_NAME != 0 {
        loader_name("multiboot", field(info, 64, phys), phys);
    }

    let (count, list) = if flags & MODULES == 0 {
        (0, 0)
    } else {
        (field(info, 20, phys), field(info, 24, phys))
    };
    module_count("multiboot", count, expectation);
    if count > 0 {
        occupied.push("module-list", list, count.saturating_mul(MODULE_LEN));
    }
    for index in 0..count.min(CHECKED_MODULES) {
        let entry = list + index * MODULE_LEN;
        let (start, end) = (phys.read_u32(entry), phys.read_u32(entry + 4));
        let string = field(entry, 8, phys);
        report::check_equal(
            format_args!("multiboot.module.{index}.reserved"),
            field(entry, 12, phys),
            0,
        );
        module(
            "multiboot",
            (index, count),
            (start, end),
            string,
            phys,
            expectation,
        );
        occupied.push("module", start.into(), end.saturating_sub(start).into());
        if string != 0 {
            match string_len(string, MAX_STRING, phys) {
                Some(len) => occupied.push("module-string", string, len + 1),
                None => {
                    fail!(format_args!("multiboot.module.{index}.string"), "no terminating zero within {MAX_STRING} bytes"; "a terminating zero")
                }
            }
        }
    }
}

/// Checks that all entries have a valid size and that the last one ends at the end of the map.
fn memory_map(info: u64, phys: &mut Phys, occupied: &mut OccupiedRanges) {
    let (len, start) = (field(info, 44, phys), field(info, 48, phys));
    occupied.push("memory-map", start, len);
    let mut at = start;
    let mut shortest = u32::MAX;
    while at < start + len {
        let size = phys.read_u32(at);
        shortest = shortest.min(size);
        at += 4 + u64::from(size);
    }
    check!("multiboot.memory-map-entries", len > 0 && shortest >= ENTRY_LEN, "{len} bytes, the shortest entry of {shortest}";
        "entries of {ENTRY_LEN} bytes or more");
    report::check_equal("multiboot.memory-map-end", at, start + len);
}
