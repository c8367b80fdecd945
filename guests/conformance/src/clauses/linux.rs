//! The zero page and all it points at (the kernel's boot.rst and zero-page.rst).

use clauses::memory::{Map, Occupant};
use clauses::memory_map::overlap;
use clauses::{check, fail, note, report};
use contract::{Blob, Digest, Entry, Expectation, Image};

use super::acpi;

use crate::machine::entry::{self, Record};
use crate::machine::phys::Phys;
use crate::page_walk::Tables;
use crate::setup_header;

const PAGE: u64 = 4096;
const E820_TABLE: u64 = 0x2d0;
const E820_ENTRY_LEN: u64 = 20;
const E820_TABLE_ENTRIES: u64 = 128;
const SETUP_DATA_LEN: u64 = 16;
const SETUP_E820_EXT: u32 = 1;
/// Nodes of the `setup_data` list followed; more are a circle.
const SANE_NODES: usize = 64;
/// Things in memory besides those nodes: kernel, zero page, command line, initrd.
const PLACES: usize = 4;

const LOADFLAGS_CHANGEABLE: u8 = 1 << 5 | 1 << 6 | 1 << 7;
const XLF_KERNEL_64: u16 = 1 << 0;
const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;

/// Parts of the zero page, outside the header, that must be zero on a machine without EFI and BIOS data: first byte, byte past
/// the last, name.
const ZEROS: [(u64, u64, &str); 10] = [
    (0x054, 0x058, "pad2"),
    (0x058, 0x060, "tboot_addr"),
    (0x078, 0x080, "pad3"),
    (0x080, 0x0a0, "hd_info"),
    (0x0cc, 0x13c, "pad4"),
    (0x1c0, 0x1e0, "efi_info"),
    (0x1e4, 0x1e8, "scratch"),
    (0x1ed, 0x1f1, "sentinel and its neighbours"),
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

    /// A 32-bit field and its high half.
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

    /// The nodes of the `setup_data` list: address, type, length of the data behind the node.
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
        .take(SANE_NODES)
    }
}

/// Address of the command line.
pub(crate) fn cmdline_address(record: &Record, phys: &mut Phys) -> u64 {
    ZeroPage {
        address: record.rsi,
        phys,
    }
    .cmdline()
}

/// Reads the e820 table and its extensions.
pub(crate) fn read_map(record: &Record, phys: &mut Phys, map: &mut Map) {
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
    let mut extensions = [(0, 0); SANE_NODES];
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

/// What the bzImage wrapper put behind the image; see `xtask`'s `bzimage` module.
struct KernelInfo {
    address: u64,
    total: u64,
}

impl KernelInfo {
    const MAGIC: u32 = u32::from_le_bytes(*b"LToP");

    /// The `kernel_info` of this image, if the zero page leads to one.
    fn find(record: &Record, page: &mut ZeroPage<'_>) -> Option<Self> {
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

/// Checks the zero page and all it points at, but for the memory map's content; answers where those things are.
pub(crate) fn check(
    record: &Record,
    phys: &mut Phys,
    expectation: &Expectation<'_>,
    cmdline: &[u8],
) -> [Occupant; PLACES + SANE_NODES] {
    let mut page = ZeroPage {
        address: record.rsi,
        phys,
    };
    report::equal("linux.boot-flag", page.half(0x1fe).into(), 0xaa55);
    report::equal(
        "linux.header-magic",
        page.word(0x202).into(),
        u32::from_le_bytes(*b"HdrS").into(),
    );
    let loader = page.byte(0x210);
    check!("linux.type-of-loader", loader != 0, "0"; "an assigned number, or 0xff");
    zeros(&mut page);

    let info = KernelInfo::find(record, &mut page);
    let image = if info.is_some() {
        Image::BzImage
    } else {
        Image::Elf
    };
    report::against("linux.image", &image, expectation.image.as_ref());
    let kernel_len = match &info {
        Some(info) => {
            header(record, &mut page, info, cmdline);
            file_content(record, page.phys, info);
            page.word(0x260).into()
        }
        None => entry::image_length(),
    };

    let cmdline_address = page.cmdline();
    check!("linux.cmd-line-ptr", cmdline_address != 0, "0"; "an address, even of an empty line");
    note!("linux.cmdline", "{} bytes at {cmdline_address:#x}", cmdline.len());
    let entries = page.byte(0x1e8);
    check!("linux.e820-entries", (1..=128).contains(&entries), "{entries}"; "1 to 128 in the page");
    setup_data(&mut page);
    let (initrd, initrd_len) = page.initrd();
    check_initrd(initrd, initrd_len, page.phys, expectation.initrd);
    let rsdp = page.long(0x070);
    acpi::root(rsdp, page.phys, expectation.rsdp);

    let cmdline_len = cmdline.len() as u64 + 1;
    let places = [
        ("kernel", record.base, kernel_len),
        ("zero-page", record.rsi, PAGE),
        ("cmdline", cmdline_address, cmdline_len),
        ("initrd", initrd, initrd_len),
    ];
    tables_apart(record, record.base, kernel_len);
    let mut occupants = [("", 0, 0); PLACES + SANE_NODES];
    let nodes = page
        .setup_data()
        .map(|(node, _, len)| ("setup-data", node, SETUP_DATA_LEN + u64::from(len)));
    for (slot, (name, start, len)) in occupants.iter_mut().zip(places.into_iter().chain(nodes)) {
        *slot = (name, start, start.saturating_add(len));
    }
    if record.entry() == Entry::Linux64 {
        mapped(record, page.phys, &places);
    }
    occupants
}

/// What the CPU still uses of the loader's must not lie where the kernel may write.
fn tables_apart(record: &Record, start: u64, len: u64) {
    let kernel = (start, start.saturating_add(len));
    let (gdt, limit) = record.gdt();
    let gdt = (gdt, gdt.saturating_add(limit.into()).saturating_add(1));
    check!("linux.gdt-apart", !overlap(kernel, gdt), "a table at {:#x}-{:#x}", gdt.0, gdt.1;
        "one outside {:#x}-{:#x}", kernel.0, kernel.1);
    if record.entry() == Entry::Linux64 {
        let root = Tables::of_registers(record.cr3, record.cr4).root;
        check!("linux.page-table-apart", !overlap(kernel, (root, root.saturating_add(PAGE))), "one at {root:#x}";
            "one outside {:#x}-{:#x}", kernel.0, kernel.1);
    }
}

fn zeros(page: &mut ZeroPage<'_>) {
    let entries = u64::from(page.byte(0x1e8)).min(E820_TABLE_ENTRIES);
    let behind_header = (
        setup_header::end(page.byte(0x201)).clamp(0x202, 0x290),
        0x290,
        "pad7",
    );
    let behind_e820 = (
        E820_TABLE + entries * E820_ENTRY_LEN,
        0xcd0,
        "unused e820 entries",
    );
    for (start, end, name) in ZEROS.into_iter().chain([behind_header, behind_e820]) {
        let dirty = page.first_nonzero(start, end);
        check!(format_args!("linux.zero.{start:#05x}"), dirty.is_none(),
            "a value at offset {:#x}", dirty.unwrap_or(0); "{name} to be zero");
    }
}

/// A bzImage: the header's fields are the file's, but for those that are the loader's, and those obey the file's rules.
fn header(record: &Record, page: &mut ZeroPage<'_>, info: &KernelInfo, cmdline: &[u8]) {
    let Some((copy, len)) = info.chunk(*b"HdrC", page.phys) else {
        return fail!("linux.header", "no copy of the file's header in kernel_info"; "one");
    };
    let original = |offset: u64, phys: &mut Phys| phys.read_byte(copy + offset - setup_header::START);
    let changed = (setup_header::START..setup_header::START + len)
        .filter(|offset| !setup_header::may_change(*offset))
        .find(|offset| page.byte(*offset) != original(*offset, page.phys));
    check!("linux.header", changed.is_none(), "{:#x} at offset {:#x}",
        changed.map_or(0, |offset| page.byte(offset)), changed.unwrap_or(0); "the byte of the file");
    let flags = (page.byte(0x211), original(0x211, page.phys));
    check!("linux.loadflags", (flags.0 ^ flags.1) & !LOADFLAGS_CHANGEABLE == 0, "{:#x}", flags.0;
        "{:#x} but for QUIET and CAN_USE_HEAP", flags.1);

    let xloadflags = page.half(0x236);
    let above_4g = xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G != 0;
    let relocatable = page.byte(0x234) != 0;
    let alignment = u64::from(page.word(0x230));
    if relocatable {
        let least = 1_u64.checked_shl(page.byte(0x235).into()).unwrap_or(0);
        check!("linux.kernel-alignment", alignment.is_power_of_two() && alignment >= least,
            "{alignment:#x}"; "a power of two, {least:#x} at least");
        check!("linux.load-address", alignment != 0 && record.base.is_multiple_of(alignment),
            "{:#x}", record.base; "a multiple of {alignment:#x}");
    } else {
        let default = (0..4).fold(0, |sum, i| {
            sum | u64::from(original(0x214 + i, page.phys)) << (8 * i)
        });
        report::equal("linux.load-address", record.base, default);
    }
    if record.base >> 32 == 0 {
        report::equal("linux.code32-start", page.word(0x214).into(), record.base);
    }
    if record.entry() == Entry::Linux64 {
        check!("linux.xlf-kernel-64", xloadflags & XLF_KERNEL_64 != 0, "{xloadflags:#x}";
            "the flag of the entry that was taken");
    }
    let longest = u64::from(page.word(0x238));
    check!("linux.cmdline-size", cmdline.len() as u64 <= longest, "{} bytes", cmdline.len(); "{longest} at most");
    let (initrd, len) = page.initrd();
    let highest = u64::from(page.word(0x22c));
    let end = initrd.saturating_add(len);
    check!("linux.initrd-addr-max", len == 0 || above_4g || end - 1 <= highest,
        "an initrd up to {end:#x}"; "its last byte at {highest:#x} or below");
    let high = (record.base | record.rsi | page.cmdline() | initrd | len) >> 32;
    check!("linux.below-4g", above_4g || high == 0, "something above 4 GiB"; "nothing there without the flag for it");
}

/// The bytes of the segments that nobody writes, against the hashes that the wrapper took of the file.
fn file_content(record: &Record, phys: &mut Phys, info: &KernelInfo) {
    const ENTRY_LEN: u64 = 24;
    let Some((table, len)) = info.chunk(*b"RoSg", phys) else {
        return fail!("linux.file-content", "no hashes in kernel_info"; "some");
    };
    for index in 0..len / ENTRY_LEN {
        let entry = table + index * ENTRY_LEN;
        let (offset, len) = (phys.read_u64(entry), phys.read_u64(entry + 8));
        let content = Digest {
            len,
            hash: phys.read_u64(entry + 16),
        };
        let found = phys.digest(record.base + offset, len);
        report::against(
            format_args!("linux.file-content.{offset:#x}"),
            &found,
            Some(&content),
        );
    }
}

fn setup_data(page: &mut ZeroPage<'_>) {
    let (mut nodes, mut bad) = (0, None);
    for (address, kind, len) in page.setup_data() {
        note!("linux.setup-data", "type {kind:#x}, {len} bytes at {address:#x}");
        nodes += 1;
        if kind == SETUP_E820_EXT && !u64::from(len).is_multiple_of(E820_ENTRY_LEN) {
            bad = Some(len);
        }
    }
    check!("linux.setup-data-ends", nodes < SANE_NODES, "{SANE_NODES} nodes and more"; "a list that ends");
    check!("linux.e820-extension", bad.is_none(), "{} bytes", bad.unwrap_or(0); "whole entries of {E820_ENTRY_LEN}");
}

fn check_initrd(address: u64, len: u64, phys: &mut Phys, asked: Option<Blob>) {
    note!("linux.initrd", "{len} bytes at {address:#x}");
    match asked {
        None => {}
        Some(Blob::Absent) => {
            report::equal("linux.initrd-address", address, 0);
            report::equal("linux.initrd-size", len, 0);
        }
        // A length that is wrong may be absurd: then there is no use in reading that much.
        Some(Blob::Present(content)) if content.len == len => {
            report::against("linux.initrd-content", &phys.digest(address, len), Some(&content));
        }
        Some(Blob::Present(content)) => {
            fail!("linux.initrd-content", "{len} bytes"; "{} bytes", content.len);
        }
    }
}

/// The 64-bit protocol: kernel, zero page and command line are mapped to themselves.
fn mapped(record: &Record, phys: &mut Phys, places: &[(&str, u64, u64); PLACES]) {
    let tables = Tables::of_registers(record.cr3, record.cr4);
    for (index, (name, start, len)) in places.iter().enumerate() {
        let range = (*start, start.saturating_add(*len));
        let flaw = tables
            .identity(range, index == 0, &mut |at| phys.read_u64(at))
            .err();
        match flaw {
            // No word is said about the initrd: the kernel maps it itself.
            Some(flaw) if *name == "initrd" => note!("linux.mapped.initrd", "{flaw}"),
            Some(flaw) => fail!(format_args!("linux.mapped.{name}"), "{flaw}";
                "{:#x}-{:#x} mapped to itself", range.0, range.1),
            None if *name == "initrd" => {}
            None => report::ok(format_args!("linux.mapped.{name}")),
        }
    }
}
