//! Clauses about the zero page and the structures it points to (Linux boot.rst and zero-page.rst).

use clauses::memory::{MemoryMap, NamedRange};
use clauses::memory_map::overlap;
use clauses::{check, fail, note, report};
use contract::{Blob, Digest, Entry, Expectation, Image};

use super::acpi;

use crate::machine::entry::{self, EntryRecord};
use crate::machine::phys::Phys;
use crate::page_walk::PageTables;
use crate::setup_header;

const PAGE: u64 = 4096;
const E820_TABLE: u64 = 0x2d0;
const E820_ENTRY_LEN: u64 = 20;
const E820_TABLE_ENTRIES: u64 = 128;
const SETUP_DATA_LEN: u64 = 16;
const SETUP_E820_EXT: u32 = 1;
const SETUP_RNG_SEED: u32 = 9;
/// End of the addresses that are always mapped at the 64-bit entry point.
const FOUR_GIB: u64 = 1 << 32;
/// Length of the RSDP since ACPI 2.0.
const RSDP_LEN: u64 = 36;
/// Maximum length of the `setup_data` list; a longer list is taken for a cycle.
const MAX_NODES: usize = 64;
/// Number of ranges in use besides those nodes: kernel, zero page, command line, initrd.
const RANGES: usize = 4;

const LOADFLAGS_CHANGEABLE: u8 = 1 << 5 | 1 << 6 | 1 << 7;
const XLF_KERNEL_64: u16 = 1 << 0;
const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;

/// Parts of the zero page outside the setup header that must be zero on a machine without EFI and BIOS data: start, end
/// (exclusive), name.
const ZEROS: [(u64, u64, &str); 10] = [
    (0x054, 0x058, "pad2"),
    (0x058, 0x060, "tboot_addr"),
    (0x078, 0x080, "pad3"),
    (0x080, 0x0a0, "hd_info"),
    (0x0cc, 0x13c, "pad4"),
    (0x1c0, 0x1e0, "efi_info"),
    (0x1e4, 0x1e8, "scratch"),
    (0x1ed, 0x1f1, "sentinel and adjacent padding"),
    (0xcd0, 0xd00, "pad8"),
    (0xd00, 0x1000, "eddbuf and pad9"),
];

/// The zero page.
struct ZeroPage<'a> {
    address: u64,
    phys: &'a mut Phys,
}

impl ZeroPage<'_> {
    fn byte(&mut self, offset: u64) -> u8 {
        self.phys.read_byte(self.address + offset)
    }

    fn half(&mut self, offset: u64) -> u16 {
        u16::from_le_bytes([self.byte(offset), self.byte(offset + 1)])
    }

    fn word(&mut self, offset: u64) -> u32 {
        self.phys.read_u32(self.address + offset)
    }

    fn long(&mut self, offset: u64) -> u64 {
        self.phys.read_u64(self.address + offset)
    }

    /// A 64-bit value in two 32-bit fields.
    fn split(&mut self, low: u64, high: u64) -> u64 {
        u64::from(self.word(low)) | u64::from(self.word(high)) << 32
    }

    fn cmdline(&mut self) -> u64 {
        self.split(0x228, 0x0c8)
    }

    fn initrd(&mut self) -> (u64, u64) {
        (self.split(0x218, 0x0c0), self.split(0x21c, 0x0c4))
    }

    fn first_nonzero(&mut self, start: u64, end: u64) -> Option<u64> {
        (start..end).find(|offset| self.byte(*offset) != 0)
    }

    /// The nodes of the `setup_data` list: address, type, length of the data after the header.
    fn setup_data(&mut self) -> impl Iterator<Item = (u64, u32, u32)> {
        let mut next = self.long(0x250);
        core::iter::from_fn(move || {
            let address = next;
            (address != 0).then(|| {
                next = self.phys.read_u64(address);
                (
                    address,
                    self.phys.read_u32(address.wrapping_add(8)),
                    self.phys.read_u32(address.wrapping_add(12)),
                )
            })
        })
        .take(MAX_NODES)
    }
}

/// Address of the command line.
pub(crate) fn cmdline_address(record: &EntryRecord, phys: &mut Phys) -> u64 {
    ZeroPage {
        address: record.rsi,
        phys,
    }
    .cmdline()
}

/// Reads the e820 table and its extensions.
pub(crate) fn read_map(record: &EntryRecord, phys: &mut Phys, map: &mut MemoryMap) {
    let mut page = ZeroPage {
        address: record.rsi,
        phys,
    };
    let mut push = |phys: &mut Phys, entry: u64| {
        map.push(
            phys.read_u64(entry),
            phys.read_u64(entry + 8),
            phys.read_u32(entry + 16),
        );
    };
    let count = u64::from(page.byte(0x1e8)).min(E820_TABLE_ENTRIES);
    for index in 0..count {
        let entry = page.address + E820_TABLE + index * E820_ENTRY_LEN;
        push(page.phys, entry);
    }
    let mut extensions = [(0, 0); MAX_NODES];
    let nodes = page.setup_data().filter(|node| node.1 == SETUP_E820_EXT);
    for (slot, (address, _, len)) in extensions.iter_mut().zip(nodes) {
        *slot = (
            address.wrapping_add(SETUP_DATA_LEN),
            u64::from(len) / E820_ENTRY_LEN,
        );
    }
    for (table, count) in extensions {
        for index in 0..count.min(4096) {
            push(page.phys, table.wrapping_add(index * E820_ENTRY_LEN));
        }
    }
}

/// The `kernel_info` structure that `xtask`'s `bzimage` module appends to the image.
struct KernelInfo {
    address: u64,
    total: u64,
}

impl KernelInfo {
    const MAGIC: u32 = u32::from_le_bytes(*b"LToP");

    /// The `kernel_info` of this image, if the setup header has its offset.
    fn find(record: &EntryRecord, page: &mut ZeroPage<'_>) -> Option<Self> {
        let offset = u64::from(page.word(0x268));
        if page.half(0x206) < 0x20f || offset == 0 {
            return None;
        }
        let address = record.base + offset;
        (page.phys.read_u32(address) == Self::MAGIC).then(|| Self {
            address,
            total: page.phys.read_u32(address + 8).into(),
        })
    }

    /// Address and length of the content of a variable-length chunk.
    fn chunk(&self, magic: [u8; 4], phys: &mut Phys) -> Option<(u64, u64)> {
        let mut offset = u64::from(phys.read_u32(self.address + 4));
        while offset + 8 <= self.total {
            let chunk = self.address + offset;
            let len = u64::from(phys.read_u32(chunk + 4));
            if len < 8 || len > self.total - offset {
                return None;
            }
            if phys.read_u32(chunk) == u32::from_le_bytes(magic) {
                return Some((chunk + 8, len - 8));
            }
            offset += len;
        }
        None
    }
}

/// Checks the zero page and the structures it points to, except the entries of the memory map. Returns the ranges in use.
pub(crate) fn check(
    record: &EntryRecord,
    phys: &mut Phys,
    expectation: &Expectation<'_>,
    cmdline: &[u8],
) -> [NamedRange; RANGES + MAX_NODES] {
    let mut page = ZeroPage {
        address: record.rsi,
        phys,
    };
    report::check_equal("linux.boot-flag", page.half(0x1fe).into(), 0xaa55);
    report::check_equal(
        "linux.header-magic",
        page.word(0x202).into(),
        u32::from_le_bytes(*b"HdrS").into(),
    );
    let loader = page.byte(0x210);
    check!("linux.type-of-loader", loader != 0, "0"; "an assigned id, or 0xff");
    check_zeros(&mut page);

    let info = KernelInfo::find(record, &mut page);
    let image = if info.is_some() {
        Image::BzImage
    } else {
        Image::Elf
    };
    report::check_expected("linux.image", &image, expectation.image.as_ref());
    let kernel_len = match &info {
        Some(info) => {
            check_setup_header(record, &mut page, info, cmdline);
            check_file_content(record, page.phys, info);
            page.word(0x260).into()
        }
        None => entry::image_length(),
    };

    let cmdline_address = page.cmdline();
    check!("linux.cmd-line-ptr", cmdline_address != 0, "0"; "an address, even for an empty command line");
    note!("linux.cmdline", "{} bytes at {cmdline_address:#x}", cmdline.len());
    let entries = page.byte(0x1e8);
    check!("linux.e820-entries", (1..=128).contains(&entries), "{entries}"; "1 to 128 in the zero page");
    check_setup_data(&mut page);
    check_rng_seed(&mut page, expectation.rng_seed);
    let (initrd, initrd_len) = page.initrd();
    check_initrd(initrd, initrd_len, page.phys, expectation.initrd);
    let rsdp = page.long(0x070);
    acpi::root(rsdp, page.phys, expectation.rsdp);

    let cmdline_len = cmdline.len() as u64 + 1;
    let ranges = [
        ("kernel", record.base, kernel_len),
        ("zero-page", record.rsi, PAGE),
        ("cmdline", cmdline_address, cmdline_len),
        ("initrd", initrd, initrd_len),
    ];
    check_cpu_tables(record, record.base, kernel_len);
    let mut occupied = [("", 0, 0); RANGES + MAX_NODES];
    let nodes = page
        .setup_data()
        .map(|(node, _, len)| ("setup-data", node, SETUP_DATA_LEN + u64::from(len)));
    for (slot, (name, start, len)) in occupied.iter_mut().zip(ranges.into_iter().chain(nodes)) {
        *slot = (name, start, start.saturating_add(len));
    }
    if record.entry() == Entry::Linux64 {
        check_mappings(record, page.phys, &ranges);
        check_early_mappings(record, page.phys, rsdp);
    }
    occupied
}

/// Checks that the GDT and the page tables of the loader are outside the memory of the kernel.
fn check_cpu_tables(record: &EntryRecord, start: u64, len: u64) {
    let kernel = (start, start.saturating_add(len));
    let (gdt, limit) = record.gdt();
    let gdt = (gdt, gdt.saturating_add(limit.into()).saturating_add(1));
    check!("linux.gdt-disjoint", !overlap(kernel, gdt), "a table at {:#x}-{:#x}", gdt.0, gdt.1;
        "one outside {:#x}-{:#x}", kernel.0, kernel.1);
    if record.entry() == Entry::Linux64 {
        let root = PageTables::from_registers(record.cr3, record.cr4).root;
        check!("linux.page-table-disjoint", !overlap(kernel, (root, root.saturating_add(PAGE))), "one at {root:#x}";
            "one outside {:#x}-{:#x}", kernel.0, kernel.1);
    }
}

fn check_zeros(page: &mut ZeroPage<'_>) {
    let entries = u64::from(page.byte(0x1e8)).min(E820_TABLE_ENTRIES);
    let after_header = (
        setup_header::end(page.byte(0x201)).clamp(0x202, 0x290),
        0x290,
        "pad7",
    );
    let after_e820 = (
        E820_TABLE + entries * E820_ENTRY_LEN,
        0xcd0,
        "unused e820 entries",
    );
    for (start, end, name) in ZEROS.into_iter().chain([after_header, after_e820]) {
        let dirty = page.first_nonzero(start, end);
        check!(format_args!("linux.zero.{start:#05x}"), dirty.is_none(),
            "a value at offset {:#x}", dirty.unwrap_or(0); "{name} to be zero");
    }
}

/// Checks the setup header of a bzImage: fields that a loader must not change equal the file; the others follow the rules of
/// boot.rst.
fn check_setup_header(record: &EntryRecord, page: &mut ZeroPage<'_>, info: &KernelInfo, cmdline: &[u8]) {
    let Some((copy, len)) = info.chunk(*b"HdrC", page.phys) else {
        return fail!("linux.header", "no copy of the setup header in kernel_info"; "a copy of the setup header");
    };
    let original = |offset: u64, phys: &mut Phys| phys.read_byte(copy + offset - setup_header::START);
    let changed = (setup_header::START..setup_header::START + len)
        .filter(|offset| !setup_header::may_change(*offset))
        .find(|offset| page.byte(*offset) != original(*offset, page.phys));
    check!("linux.header", changed.is_none(), "{:#x} at offset {:#x}",
        changed.map_or(0, |offset| page.byte(offset)), changed.unwrap_or(0); "the byte of the file");
    let flags = (page.byte(0x211), original(0x211, page.phys));
    check!("linux.loadflags", (flags.0 ^ flags.1) & !LOADFLAGS_CHANGEABLE == 0, "{:#x}", flags.0;
        "{:#x} except QUIET and CAN_USE_HEAP", flags.1);

    let xloadflags = page.half(0x236);
    let above_4g = xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G != 0;
    let relocatable = page.byte(0x234) != 0;
    let alignment = u64::from(page.word(0x230));
    if relocatable {
        let least = 1_u64.checked_shl(page.byte(0x235).into()).unwrap_or(0);
        check!("linux.kernel-alignment", alignment.is_power_of_two() && alignment >= least,
            "{alignment:#x}"; "a power of two, at least {least:#x}");
        check!("linux.load-address", alignment != 0 && record.base.is_multiple_of(alignment),
            "{:#x}", record.base; "a multiple of {alignment:#x}");
    } else {
        let default = (0..4).fold(0, |sum, i| {
            sum | u64::from(original(0x214 + i, page.phys)) << (8 * i)
        });
        report::check_equal("linux.load-address", record.base, default);
    }
    if record.base >> 32 == 0 {
        report::check_equal("linux.code32-start", page.word(0x214).into(), record.base);
    }
    if record.entry() == Entry::Linux64 {
        check!("linux.xlf-kernel-64", xloadflags & XLF_KERNEL_64 != 0, "{xloadflags:#x}";
            "XLF_KERNEL_64 for the 64-bit entry point");
    }
    let longest = u64::from(page.word(0x238));
    check!("linux.cmdline-size", cmdline.len() as u64 <= longest, "{} bytes", cmdline.len(); "at most {longest}");
    let (initrd, len) = page.initrd();
    let highest = u64::from(page.word(0x22c));
    let end = initrd.saturating_add(len);
    check!("linux.initrd-addr-max", len == 0 || above_4g || end - 1 <= highest,
        "an initrd up to {end:#x}"; "its last byte at or below {highest:#x}");
    let high = (record.base | record.rsi | page.cmdline() | initrd | len) >> 32;
    check!("linux.below-4g", above_4g || high == 0, "a range above 4 GiB"; "all ranges below 4 GiB without XLF_CAN_BE_LOADED_ABOVE_4G");
}

/// Checks the read-only segments against the hashes in `kernel_info`.
fn check_file_content(record: &EntryRecord, phys: &mut Phys, info: &KernelInfo) {
    const ENTRY_LEN: u64 = 24;
    let Some((table, len)) = info.chunk(*b"RoSg", phys) else {
        return fail!("linux.file-content", "no hashes in kernel_info"; "hashes of the read-only segments");
    };
    for index in 0..len / ENTRY_LEN {
        let entry = table + index * ENTRY_LEN;
        let (offset, len) = (phys.read_u64(entry), phys.read_u64(entry + 8));
        let content = Digest {
            len,
            hash: phys.read_u64(entry + 16),
        };
        let found = phys.digest(record.base + offset, len);
        report::check_expected(
            format_args!("linux.file-content.{offset:#x}"),
            &found,
            Some(&content),
        );
    }
}

fn check_setup_data(page: &mut ZeroPage<'_>) {
    let (mut nodes, mut bad) = (0, None);
    for (address, kind, len) in page.setup_data() {
        note!("linux.setup-data", "type {kind:#x}, {len} bytes at {address:#x}");
        nodes += 1;
        if kind == SETUP_E820_EXT && !u64::from(len).is_multiple_of(E820_ENTRY_LEN) {
            bad = Some(len);
        }
    }
    check!("linux.setup-data-ends", nodes < MAX_NODES, "at least {MAX_NODES} nodes"; "a list that ends");
    check!("linux.e820-extension", bad.is_none(), "{} bytes", bad.unwrap_or(0); "whole entries of {E820_ENTRY_LEN}");
}

/// Checks the random bytes: at most one node, with the expected bytes.
fn check_rng_seed(page: &mut ZeroPage<'_>, expected: Option<Blob>) {
    let (mut nodes, mut seed) = (0_u64, None);
    for (address, _, len) in page.setup_data().filter(|node| node.1 == SETUP_RNG_SEED) {
        nodes += 1;
        seed = Some((address.wrapping_add(SETUP_DATA_LEN), u64::from(len)));
    }
    check!("linux.rng-seed-nodes", nodes <= 1, "{nodes} nodes"; "at most one");
    match (expected, seed) {
        (None, _) => {}
        (Some(Blob::Absent), _) => report::check_equal("linux.rng-seed", nodes, 0),
        (Some(Blob::Present(content)), Some((address, len))) if content.len == len => {
            report::check_expected("linux.rng-seed", &page.phys.digest(address, len), Some(&content));
        }
        (Some(Blob::Present(content)), _) => {
            fail!("linux.rng-seed", "{} bytes", seed.map_or(0, |(_, len)| len); "{} bytes", content.len);
        }
    }
}

fn check_initrd(address: u64, len: u64, phys: &mut Phys, expected: Option<Blob>) {
    note!("linux.initrd", "{len} bytes at {address:#x}");
    match expected {
        None => {}
        Some(Blob::Absent) => {
            report::check_equal("linux.initrd-address", address, 0);
            report::check_equal("linux.initrd-size", len, 0);
        }
        // Do not read the bytes if the length is wrong: it may be arbitrarily large.
        Some(Blob::Present(content)) if content.len == len => {
            report::check_expected("linux.initrd-content", &phys.digest(address, len), Some(&content));
        }
        Some(Blob::Present(content)) => {
            fail!("linux.initrd-content", "{len} bytes"; "{} bytes", content.len);
        }
    }
}

/// Checks the identity mapping of the kernel, the zero page and the command line (64-bit boot protocol).
fn check_mappings(record: &EntryRecord, phys: &mut Phys, ranges: &[(&str, u64, u64); RANGES]) {
    let tables = PageTables::from_registers(record.cr3, record.cr4);
    for (index, (name, start, len)) in ranges.iter().enumerate() {
        let range = (*start, start.saturating_add(*len));
        let error = tables
            .check_identity(range, index == 0, &mut |at| phys.read_u64(at))
            .err();
        match error {
            // The protocol does not require a mapping of the initrd.
            Some(error) if *name == "initrd" => note!("linux.mapped.initrd", "{error}"),
            Some(error) => fail!(format_args!("linux.mapped.{name}"), "{error}";
                "{:#x}-{:#x} identity-mapped", range.0, range.1),
            None if *name == "initrd" => {}
            None => report::ok(format_args!("linux.mapped.{name}")),
        }
    }
}

/// Checks the identity mapping of what Linux 5.1 to 5.9 with KASLR reads before it can handle a page fault: the first 4 GiB and
/// the RSDP.
fn check_early_mappings(record: &EntryRecord, phys: &mut Phys, rsdp: u64) {
    let tables = PageTables::from_registers(record.cr3, record.cr4);
    // Without an RSDP, the clause does not apply.
    let root = (rsdp != 0).then_some(("rsdp", rsdp, rsdp.saturating_add(RSDP_LEN)));
    for (name, start, end) in [("first-4g", 0, FOUR_GIB)].into_iter().chain(root) {
        let error = tables
            .check_identity((start, end), false, &mut |at| phys.read_u64(at))
            .err();
        match error {
            Some(error) => {
                fail!(format_args!("linux.mapped.{name}"), "{error}"; "{start:#x}-{end:#x} identity-mapped");
            }
            None => report::ok(format_args!("linux.mapped.{name}")),
        }
    }
}
