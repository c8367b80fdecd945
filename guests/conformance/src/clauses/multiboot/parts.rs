//! Common parts of both versions of the boot information.

use clauses::memory::{MemoryMap, NamedRange};
use clauses::{check, fail, note, report};
use contract::{Blob, Expectation, MAX_MODULES};

use crate::clauses::modules::{self, Found};
use crate::machine::phys::Phys;

/// Maximum length of the boot loader name.
const MAX_NAME: u64 = 256;

/// Named ranges in use. Ranges beyond the capacity of the list are dropped.
pub(crate) struct OccupiedRanges {
    list: [NamedRange; MAX_MODULES + 8],
    len: usize,
}

impl OccupiedRanges {
    pub(super) const fn new() -> Self {
        Self {
            list: [("", 0, 0); MAX_MODULES + 8],
            len: 0,
        }
    }

    pub(super) fn push(&mut self, name: &'static str, start: u64, len: u64) {
        if let Some(slot) = self.list.get_mut(self.len) {
            *slot = (name, start, start.saturating_add(len));
            self.len += 1;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = NamedRange> + Clone + '_ {
        self.list.iter().take(self.len).copied()
    }
}

/// Checks `mem_lower` and `mem_upper`: the limit of the first and, if a memory map is expected, that both equal those computed
/// from the map.
pub(super) fn memory_sizes(
    prefix: &str,
    lower: u32,
    upper: u32,
    expectation: &Expectation<'_>,
    map: &MemoryMap,
) {
    check!(format_args!("{prefix}.mem-lower-limit"), lower <= 640, "{lower} KiB"; "640 KiB or less");
    if expectation.memory.is_none() {
        note!(
            format_args!("{prefix}.memory-sizes"),
            "{lower} KiB and {upper} KiB"
        );
        return;
    }
    let from = |start: u64| {
        let holder = map
            .entries()
            .iter()
            .find(|range| range.kind == 1 && range.start <= start && start < range.end);
        holder.map_or(0, |range| range.end - start) >> 10
    };
    report::check_equal(format_args!("{prefix}.mem-lower"), lower.into(), from(0).min(640));
    report::check_equal(
        format_args!("{prefix}.mem-upper"),
        upper.into(),
        from(1 << 20).min(u32::MAX.into()),
    );
}

/// Checks the name of the boot loader: at least one printable character, and a terminating zero.
pub(super) fn loader_name(prefix: &str, address: u64, phys: &mut Phys) {
    let name = format_args!("{prefix}.boot-loader-name");
    match modules::string_len(address, MAX_NAME, phys) {
        None => fail!(name, "no terminating zero within {MAX_NAME} bytes"; "a terminating zero"),
        Some(len) => {
            let is_text = (0..len).all(|at| matches!(phys.read_byte(address.wrapping_add(at)), b' '..=b'~'));
            check!(name, len > 0 && is_text, "{len} bytes, printable: {is_text}"; "a printable name");
        }
    }
}

/// Checks the number of modules. An expected initrd is the last one.
pub(super) fn module_count(prefix: &str, count: u64, expectation: &Expectation<'_>) {
    report::check_expected_address(format_args!("{prefix}.modules"), count, expectation.module_count);
    match expectation.initrd {
        Some(Blob::Absent) => report::check_equal(format_args!("{prefix}.no-initrd"), count, 0),
        Some(Blob::Present(_)) if count == 0 => {
            fail!(format_args!("{prefix}.initrd"), "no module"; "the initrd as the last module");
        }
        _ => {}
    }
    modules::missing(prefix, count, expectation);
}

/// Checks a module: its alignment, which the headers of all guests require, its content and its string.
pub(super) fn module(
    prefix: &str,
    (index, count): (u64, u64),
    (start, end): (u32, u32),
    cmdline_address: u64,
    phys: &mut Phys,
    expectation: &Expectation<'_>,
) {
    note!(
        format_args!("{prefix}.module.{index}"),
        "{start:#x} to {end:#x}, string at {cmdline_address:#x}"
    );
    report::check_equal(
        format_args!("{prefix}.module.{index}.aligned"),
        u64::from(start) % 4096,
        0,
    );
    check!(format_args!("{prefix}.module.{index}.order"), start <= end, "{start:#x} to {end:#x}";
        "an end at or above the start");
    let initrd = match expectation.initrd {
        Some(Blob::Present(content)) if index + 1 == count => Some(content),
        _ => None,
    };
    let found = Found {
        index,
        address: start.into(),
        len: end.saturating_sub(start).into(),
        cmdline_address,
    };
    modules::check(
        prefix,
        &found,
        phys,
        modules::expected(index, expectation),
        initrd,
    );
}
