//! The boot information of Multiboot2 (Multiboot2 2.0, 3.6).

use clauses::memory::MemoryMap;
use clauses::{check, fail, note, report};
use contract::Expectation;

use super::parts::{OccupiedRanges, loader_name, memory_sizes, module, module_count};
use crate::clauses::modules::{CHECKED_MODULES, string_len};
use crate::machine::entry::EntryRecord;
use crate::machine::phys::Phys;

const MAGIC: u64 = 0x36d7_6289;
const HEADER_MAGIC: u32 = 0xe852_50d6;
/// Number of bytes of the image that are searched for its header: the first page.
const HEADER_SEARCH: u64 = 4096;

const CMDLINE: u32 = 1;
const BOOT_LOADER_NAME: u32 = 2;
const MODULE: u32 = 3;
const BASIC_MEMORY: u32 = 4;
const MEMORY_MAP: u32 = 6;
const LOAD_BASE: u32 = 21;
/// Highest type that version 2.0 defines.
const LAST: u32 = 21;

/// Type of the information request header tag.
const INFORMATION_REQUEST: u32 = 1;
/// Type of the relocatable header tag.
const RELOCATABLE: u32 = 10;

/// A tag of the boot information or of the header.
#[derive(Clone, Copy)]
struct Tag {
    at: u64,
    kind: u32,
    size: u64,
}

/// The tags from `start` to `end`, including the end tag. Stops before a tag that is shorter than 8 bytes or ends past `end`.
fn tags<'a>(start: u64, end: u64, phys: &'a mut Phys) -> impl Iterator<Item = Tag> + 'a {
    let mut next = Some(start);
    core::iter::from_fn(move || {
        let at = next?;
        if at + 8 > end {
            return None;
        }
        let tag = Tag {
            at,
            kind: phys.read_u32(at),
            size: phys.read_u32(at + 4).into(),
        };
        if tag.size < 8 || tag.size > end - at {
            return None;
        }
        next = (tag.kind != 0).then_some((at + tag.size).next_multiple_of(8));
        Some(tag)
    })
}

fn info_tags(info: u64, phys: &mut Phys) -> impl Iterator<Item = Tag> + '_ {
    let end = info + u64::from(phys.read_u32(info));
    tags(info + 8, end, phys)
}

fn find(info: u64, kind: u32, phys: &mut Phys) -> Option<Tag> {
    info_tags(info, phys).find(|tag| tag.kind == kind)
}

pub(super) fn cmdline_address(info: u64, phys: &mut Phys) -> u64 {
    find(info, CMDLINE, phys).map_or(0, |tag| tag.at + 8)
}

pub(super) fn read_map(info: u64, phys: &mut Phys, map: &mut MemoryMap) {
    let Some(tag) = find(info, MEMORY_MAP, phys) else {
        return;
    };
    let len = u64::from(phys.read_u32(tag.at + 8)).max(24);
    let mut at = tag.at + 16;
    while at + len <= tag.at + tag.size {
        map.push(phys.read_u64(at), phys.read_u64(at + 8), phys.read_u32(at + 16));
        at += len;
    }
}

pub(super) fn check(
    record: &EntryRecord,
    phys: &mut Phys,
    expectation: &Expectation<'_>,
    map: &MemoryMap,
    occupied: &mut OccupiedRanges,
) {
    let info = record.rbx;
    report::check_equal("multiboot2.magic", record.rax, MAGIC);
    report::check_equal("multiboot2.aligned", info % 8, 0);
    let total = u64::from(phys.read_u32(info));
    report::check_equal("multiboot2.reserved", phys.read_u32(info + 4).into(), 0);
    occupied.push("information", info, total);

    // The iterator stops before an invalid tag, so its last tag is the end tag only if all tags are valid.
    let end = info_tags(info, phys).last();
    check!("multiboot2.end-tag", end.is_some_and(|tag| (tag.kind, tag.size, tag.at + 8) == (0, 8, info + total)),
        "a tag of type {} and {} bytes at offset {:#x}", end.map_or(0, |tag| tag.kind), end.map_or(0, |tag| tag.size),
        end.map_or(0, |tag| tag.at - info); "type 0 and 8 bytes, as the last of {total:#x} bytes");
    let mut seen = 0_u32;
    let mut twice = 0;
    let mut undefined = 0;
    for tag in info_tags(info, phys) {
        match tag.kind {
            MODULE => {}
            kind if kind > LAST => undefined = kind,
            kind => {
                if seen & 1 << kind != 0 {
                    twice = kind;
                }
                seen |= 1 << kind;
            }
        }
    }
    report::check_equal("multiboot2.tags-defined", undefined.into(), 0);
    report::check_equal("multiboot2.tags-once", twice.into(), 0);

    let (requested, relocatable) = own_header(record, phys);
    // There is one module tag per module, so there may be none.
    report::check_equal(
        "multiboot2.requests",
        (requested & !seen & !(1 << MODULE)).into(),
        0,
    );
    match (relocatable, find(info, LOAD_BASE, phys)) {
        (true, Some(tag)) => {
            let base = phys.read_u32(tag.at + 8);
            report::check_equal("multiboot2.load-base", base.into(), record.base);
        }
        (true, None) => fail!("multiboot2.load-base", "no tag"; "the load address of the relocatable image"),
        (false, tag) => report::check_equal("multiboot2.load-base", tag.is_some().into(), 0),
    }

    if let Some(tag) = find(info, CMDLINE, phys) {
        terminated("multiboot2.cmdline-end", tag, 8, phys);
    }
    if let Some(tag) = find(info, BOOT_LOADER_NAME, phys) {
        terminated("multiboot2.boot-loader-name-end", tag, 8, phys);
        loader_name("multiboot2", tag.at + 8, phys);
    }
    if let Some(tag) = find(info, BASIC_MEMORY, phys) {
        report::check_equal("multiboot2.memory-size", tag.size, 16);
        let (lower, upper) = (phys.read_u32(tag.at + 8), phys.read_u32(tag.at + 12));
        memory_sizes("multiboot2", lower, upper, expectation, map);
    }
    if let Some(tag) = find(info, MEMORY_MAP, phys) {
        memory_map(tag, phys);
    }
    modules(info, phys, expectation, occupied);
}

/// The header of this image: its required information tags, as a bit mask, and whether it is relocatable.
fn own_header(record: &EntryRecord, phys: &mut Phys) -> (u32, bool) {
    let place = (0..HEADER_SEARCH)
        .step_by(8)
        .map(|offset| record.base + offset)
        .find(|at| phys.read_u32(*at) == HEADER_MAGIC);
    let Some(header) = place else {
        fail!("multiboot2.header", "no header in the first page"; "the header of this image");
        return (0, false);
    };
    let end = header + u64::from(phys.read_u32(header + 8));
    let mut requested = 0;
    let mut relocatable = false;
    let mut next = header + 16;
    loop {
        let Some(tag) = tags(next, end, phys).next() else {
            break;
        };
        // The upper 16 bits are the flags; bit 0 is "optional".
        let (kind, optional) = (tag.kind & 0xffff, tag.kind & 0x1_0000 != 0);
        match kind {
            INFORMATION_REQUEST if !optional => {
                for at in (tag.at + 8..tag.at + tag.size).step_by(4) {
                    requested |= 1_u32.checked_shl(phys.read_u32(at)).unwrap_or(0);
                }
            }
            RELOCATABLE => relocatable = true,
            _ => {}
        }
        next = (tag.at + tag.size).next_multiple_of(8);
    }
    (requested, relocatable)
}

/// Checks that the string at `offset` of a tag ends, with its zero, at the end of the tag.
fn terminated(name: impl core::fmt::Display, tag: Tag, offset: u64, phys: &mut Phys) {
    let room = tag.size.saturating_sub(offset);
    let len = string_len(tag.at + offset, room, phys);
    check!(name, len.map(|len| len + 1) == Some(room), "{} bytes before the zero", len.unwrap_or(room);
        "a zero as the last of {room} bytes");
}

fn memory_map(tag: Tag, phys: &mut Phys) {
    let len = u64::from(phys.read_u32(tag.at + 8));
    check!("multiboot2.memory-map-entry-size", len >= 24 && len % 8 == 0, "{len}"; "24, or a larger multiple of 8");
    report::check_equal(
        "multiboot2.memory-map-version",
        phys.read_u32(tag.at + 12).into(),
        0,
    );
    let len = len.max(24);
    report::check_equal("multiboot2.memory-map-end", (tag.size - 16) % len, 0);
    let mut at = tag.at + 16;
    let mut dirty = 0;
    while at + len <= tag.at + tag.size {
        dirty |= phys.read_u32(at + 20);
        at += len;
    }
    report::check_equal("multiboot2.memory-map-reserved", dirty.into(), 0);
}

fn modules(info: u64, phys: &mut Phys, expectation: &Expectation<'_>, occupied: &mut OccupiedRanges) {
    let count = info_tags(info, phys).filter(|tag| tag.kind == MODULE).count() as u64;
    module_count("multiboot2", count, expectation);
    for index in 0..count.min(CHECKED_MODULES) {
        let mut found = info_tags(info, phys).filter(|tag| tag.kind == MODULE);
        let Some(tag) = found.nth(usize::try_from(index).unwrap_or(usize::MAX)) else {
            return;
        };
        drop(found);
        let (start, end) = (phys.read_u32(tag.at + 8), phys.read_u32(tag.at + 12));
        terminated(
            format_args!("multiboot2.module.{index}.string-end"),
            tag,
            16,
            phys,
        );
        let string = if phys.read_byte(tag.at + 16) == 0 {
            0
        } else {
            tag.at + 16
        };
        module(
            "multiboot2",
            (index, count),
            (start, end),
            string,
            phys,
            expectation,
        );
        occupied.push("module", start.into(), end.saturating_sub(start).into());
        note!(
            format_args!("multiboot2.module.{index}.tag"),
            "{} bytes at {:#x}",
            tag.size,
            tag.at
        );
    }
}
