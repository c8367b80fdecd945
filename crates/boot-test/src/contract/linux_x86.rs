//! Requirements of boot.rst and zero-page.rst.

use std::collections::BTreeSet;

use std::num::NonZeroU64;

use boot_core::cpu::x86_64::State;
use boot_core::{BootFile, BootPlan, BootRequest, GuestRange, LoadContent, RegionKind};
use boot_linux::x86::SetupHeaderMetadata;

use super::{boot_cpu, check_extent, check_region};
use crate::view::View;

/// The fields of the setup header that the loader fills: start and end. boot.rst marks them "write" or "modify".
const FILLED: [(u64, u64); 8] = [
    (0x1fa, 0x1fc), // vid_mode
    (0x210, 0x212), // type_of_loader, loadflags
    (0x214, 0x218), // code32_start
    (0x218, 0x220), // ramdisk_image, ramdisk_size
    (0x226, 0x228), // ext_loader_ver, ext_loader_type
    (0x228, 0x22c), // cmd_line_ptr
    (0x23c, 0x240), // hardware_subarch
    (0x250, 0x258), // setup_data
];

/// The other parts of the zero page that the loader fills, except for the e820 table.
const OUTSIDE: [(u64, u64); 5] = [
    (0x070, 0x078), // acpi_rsdp_addr
    (0x0c0, 0x0cc), // ext_ramdisk_image, ext_ramdisk_size, ext_cmd_line_ptr
    (0x1e0, 0x1e4), // alt_mem_k
    (0x1e8, 0x1e9), // e820_entries
    (0x1f1, 0x290), // the setup header
];

fn within(offset: u64, ranges: &[(u64, u64)]) -> bool {
    ranges.iter().any(|(start, end)| (*start..*end).contains(&offset))
}

/// Checks the plan of `request`.
///
/// # Errors
///
/// A description of the first requirement that is not met.
///
/// # Panics
///
/// If an address and a length in the plan exceed the address space.
pub fn check(request: &BootRequest<'_>, plan: &BootPlan) -> Result<(), String> {
    let state = boot_cpu(plan)?;
    check_extent(plan)?;
    let view = View(plan);
    let page = state.rsi;
    ensure!(
        page >= 0x1000 && page % 0x1000 == 0 && page < 1 << 32,
        "the zero page is at {page:#x}"
    );
    header(request, plan, &view, page, state)?;
    memory_map(request, &view, page)?;
    let cmdline = cmdline(request, &view, page)?;
    initrd(request, plan, &view, page, state)?;
    let entries = 0x2d0 + 20 * view.number(page + 0x1e8, 1)?;
    for (offset, byte) in (0..).zip(view.bytes(page, 0x1000)?) {
        let filled = within(offset, &OUTSIDE) || (0x2d0..entries).contains(&offset);
        ensure!(filled || *byte == 0, "the zero page is not zero at {offset:#x}");
    }
    let rsdp = view.number(page + 0x70, 8)?;
    ensure!(
        rsdp == request.machine.acpi_rsdp.unwrap_or(0),
        "the RSDP is said to be at {rsdp:#x}"
    );

    registers(&view, state)?;
    if state.efer == 0 {
        let low = plan.loads().iter().all(|load| load.range.end() <= 1 << 32);
        ensure!(
            low && plan.kernel().end() <= 1 << 32,
            "something is above 4 GiB in 32-bit mode"
        );
        Ok(())
    } else {
        let own = |addr: u64| {
            plan.loads()
                .iter()
                .map(|load| load.range)
                .find(|range| range.start() == addr)
        };
        let needed = [
            Some(plan.kernel()),
            own(page),
            own(state.gdtr.base),
            Some(cmdline),
            own(state.cr3),
        ];
        let initrd = plan
            .loads()
            .iter()
            .filter(|load| load.label == "initrd")
            .map(|load| load.range);
        // What a kernel may read before it can handle a page fault: everything below 4 GiB, the RSDP and ACPI tables.
        let low = GuestRange::new(0, 1 << 32).unwrap();
        let rsdp = request
            .machine
            .acpi_rsdp
            .map(|addr| GuestRange::new(addr, 36).unwrap());
        let acpi = request
            .machine
            .memory
            .regions()
            .iter()
            .filter(|region| matches!(region.kind, RegionKind::AcpiReclaimable | RegionKind::AcpiNvs))
            .map(|region| region.range);
        let needed: Vec<_> = needed
            .into_iter()
            .flatten()
            .chain(initrd)
            .chain([low])
            .chain(rsdp)
            .chain(acpi)
            .collect();
        mapping(&view, state.cr3, &needed)
    }
}

/// Checks the setup header: it is that of the file, except for the fields that the loader fills.
fn header(
    request: &BootRequest<'_>,
    plan: &BootPlan,
    view: &View<'_>,
    page: u64,
    state: &State,
) -> Result<(), String> {
    let field = |offset: u64, len: u64| view.number(page + offset, len);
    ensure!(field(0x1fe, 2)? == 0xaa55, "no boot flag");
    ensure!(view.bytes(page + 0x202, 4)? == b"HdrS", "no magic number");
    ensure!(field(0x206, 2)? >= 0x202, "boot protocol {:#x}", field(0x206, 2)?);
    ensure!(
        field(0x210, 1)? == 0xff,
        "type_of_loader is {:#x}",
        field(0x210, 1)?
    );
    ensure!(
        field(0x211, 1)? & !1 == 0,
        "loadflags are {:#x}",
        field(0x211, 1)?
    );
    ensure!(field(0x1fa, 2)? == 0xffff, "vid_mode is {:#x}", field(0x1fa, 2)?);
    ensure!(field(0x1ef, 1)? == 0, "the sentinel is set");
    ensure!(
        field(0x23c, 4)? == 0,
        "another platform than a PC: {:#x}",
        field(0x23c, 4)?
    );
    let bytes = request
        .image
        .metadata::<SetupHeaderMetadata>()
        .map(|header| header.bytes().to_vec());
    if let Some(bytes) = &bytes {
        for (offset, byte) in (0x1f1..).zip(bytes) {
            ensure!(
                within(offset, &FILLED) || field(offset, 1)? == u64::from(*byte),
                "the header's byte at {offset:#x} is not the file's"
            );
        }
    }
    let end = match &bytes {
        Some(bytes) => 0x1f1 + bytes.len() as u64,
        None => 0x202 + field(0x201, 1)?,
    };
    for offset in end..0x290 {
        ensure!(
            field(offset, 1)? == 0,
            "a byte at {offset:#x}, behind the header's end at {end:#x}"
        );
    }
    let code = plan
        .loads()
        .iter()
        .find(|load| load.is_kernel())
        .unwrap()
        .range
        .start();
    ensure!(
        code >> 32 != 0 || field(0x214, 4)? == code,
        "code32_start is {:#x}",
        field(0x214, 4)?
    );
    let (flags, long) = (field(0x236, 2)?, state.efer != 0);
    ensure!(!long || flags & 1 != 0, "a 64-bit entry in a kernel without one");
    ensure!(
        plan.kernel().end() <= 1 << 32 || long && (flags & 2 != 0 || bytes.is_none()),
        "the kernel is above 4 GiB, which it does not allow"
    );
    Ok(())
}

/// Checks that the e820 table and its extension list the machine's regions.
fn memory_map(request: &BootRequest<'_>, view: &View<'_>, page: u64) -> Result<(), String> {
    let count = view.number(page + 0x1e8, 1)?;
    ensure!(count <= 128, "{count} entries in the zero page");
    let mut addresses: Vec<_> = (0..count).map(|i| page + 0x2d0 + 20 * i).collect();
    let mut node = view.number(page + 0x250, 8)?;
    let mut seed = None;
    while node != 0 {
        let (kind, len) = (view.number(node + 8, 4)?, view.number(node + 12, 4)?);
        if kind == 9 {
            ensure!(seed.is_none(), "a second random seed at {node:#x}");
            seed = Some(view.bytes(node + 16, len)?.to_vec());
            node = view.number(node, 8)?;
            continue;
        }
        ensure!(kind == 1, "setup data of the unknown type {kind} at {node:#x}");
        ensure!(count == 128, "an extension although the table has room");
        ensure!(len > 0 && len % 20 == 0, "a node with {len} bytes at {node:#x}");
        addresses.extend((0..len / 20).map(|i| node + 16 + 20 * i));
        ensure!(
            addresses.len() <= request.machine.memory.regions().len(),
            "the nodes go on after the last region"
        );
        node = view.number(node, 8)?;
    }
    ensure!(seed.as_deref() == request.rng_seed, "the random seed is {seed:?}");
    let regions = request.machine.memory.regions();
    ensure!(
        addresses.len() == regions.len(),
        "{} entries for {} regions",
        addresses.len(),
        regions.len()
    );
    for (at, region) in addresses.into_iter().zip(regions) {
        check_region(view, at, 4, region)?;
    }
    Ok(())
}

/// The number with these low and high 32 bits.
fn split(view: &View<'_>, low: u64, high: u64) -> Result<u64, String> {
    Ok(view.number(low, 4)? | view.number(high, 4)? << 32)
}

fn cmdline(request: &BootRequest<'_>, view: &View<'_>, page: u64) -> Result<GuestRange, String> {
    let at = split(view, page + 0x228, page + 0xc8)?;
    ensure!(at != 0, "no command line");
    let (line, asked) = (view.string(at)?, request.cmdline.to_string());
    ensure!(line == asked.as_bytes(), "the command line is {line:?}");
    let max = match request.image.metadata::<SetupHeaderMetadata>() {
        // The field exists since 2.06, in headers that reach it.
        Some(header) if header.version().0 >= 0x206 && header.bytes().len() >= 0x23c - 0x1f1 => {
            view.number(page + 0x238, 4)?
        }
        Some(_) => 255,
        None => 2047,
    };
    ensure!(
        line.len() as u64 <= max,
        "{} bytes of command line for {max}",
        line.len()
    );
    Ok(GuestRange::new(at, line.len() as u64 + 1).unwrap())
}

fn initrd(
    request: &BootRequest<'_>,
    plan: &BootPlan,
    view: &View<'_>,
    page: u64,
    state: &State,
) -> Result<(), String> {
    let at = split(view, page + 0x218, page + 0xc0)?;
    let len = split(view, page + 0x21c, page + 0xc4)?;
    let is_initrd = |content: &LoadContent| {
        matches!(
            content,
            LoadContent::File {
                id: BootFile::Initrd,
                ..
            }
        )
    };
    let loads: Vec<_> = plan
        .loads()
        .iter()
        .filter(|load| is_initrd(&load.content))
        .collect();
    if request.initrd_len.is_none() {
        ensure!(
            (at, len) == (0, 0) && loads.is_empty(),
            "an initrd out of nothing at {at:#x}"
        );
        return Ok(());
    }
    ensure!(
        Some(len) == request.initrd_len.map(NonZeroU64::get),
        "the initrd has {len:#x} bytes"
    );
    ensure!(at != 0 && at % 0x1000 == 0, "the initrd is at {at:#x}");
    ensure!(
        loads.len() == 1 && loads[0].range == GuestRange::new(at, len).unwrap(),
        "it is loaded elsewhere"
    );
    let has_max = match request.image.metadata::<SetupHeaderMetadata>() {
        // The field exists since 2.03, in headers that reach it.
        Some(header) => header.version().0 >= 0x203 && header.bytes().len() >= 0x230 - 0x1f1,
        None => true,
    };
    let max = if has_max {
        view.number(page + 0x22c, 4)?
    } else {
        0x37ff_ffff
    };
    let anywhere = state.efer != 0 && view.number(page + 0x236, 2)? & 2 != 0;
    ensure!(
        anywhere || at + (len - 1) <= max,
        "the initrd reaches over {max:#x}"
    );
    Ok(())
}

fn registers(view: &View<'_>, state: &State) -> Result<(), String> {
    let long = state.efer != 0;
    ensure!(state.rflags == 2, "flags {:#x}", state.rflags);
    ensure!(state.idtr.limit == 0, "an IDT");
    let modes = (state.cr0 & 0x8000_0001, state.cr4, state.efer);
    let expected = if long {
        (0x8000_0001, 0x20, 0x500)
    } else {
        (1, 0, 0)
    };
    ensure!(modes == expected, "CR0, CR4, EFER {modes:x?}");
    ensure!((state.rbp, state.rdi, state.rbx) == (0, 0, 0), "EBP, EDI or EBX");
    ensure!(
        state.gdtr.limit == 0x1f,
        "a GDT with the limit {:#x}",
        state.gdtr.limit
    );
    let gdt: Vec<_> = (0..4)
        .map(|i| view.number(state.gdtr.base + 8 * i, 8))
        .collect::<Result<_, _>>()?;
    let code = if long {
        0x00af_9b00_0000_ffff
    } else {
        0x00cf_9b00_0000_ffff
    };
    ensure!(gdt == [0, 0, code, 0x00cf_9300_0000_ffff], "the GDT {gdt:x?}");
    ensure!(
        state.cs.selector == 0x10 && state.cs.descriptor() == code,
        "CS {:?}",
        state.cs
    );
    for segment in [state.ds, state.es, state.ss] {
        ensure!(
            segment.selector == 0x18 && segment.descriptor() == 0x00cf_9300_0000_ffff,
            "a data segment {segment:?}"
        );
    }
    Ok(())
}

/// The physical address of the 2 MiB page that maps `addr`.
fn walk(view: &View<'_>, cr3: u64, addr: u64) -> Result<u64, String> {
    let mut table = cr3;
    for shift in [39, 30, 21] {
        let entry = view.number(table + 8 * (addr >> shift & 0x1ff), 8)?;
        ensure!(entry & 3 == 3, "{addr:#x} is not mapped for writing: {entry:#x}");
        if shift == 21 {
            ensure!(entry & 0x1f_e080 == 0x80, "{addr:#x} is mapped by {entry:#x}");
            return Ok(entry & 0x000f_ffff_ffe0_0000);
        }
        ensure!(
            entry & 0x80 == 0,
            "{addr:#x} is mapped by a page that needs not exist: {entry:#x}"
        );
        table = entry & 0x000f_ffff_ffff_f000;
    }
    unreachable!("the last level returns")
}

/// Checks that the pages of `needed` are identity-mapped, and that no others are mapped.
fn mapping(view: &View<'_>, cr3: u64, needed: &[GuestRange]) -> Result<(), String> {
    let pages: BTreeSet<_> = needed
        .iter()
        .flat_map(|range| range.start() >> 21..=(range.end() - 1) >> 21)
        .collect();
    // All pages of a small map, and both ends of a large one.
    let edges = pages.iter().take(512).chain(pages.iter().rev().take(512));
    for page in edges {
        let to = walk(view, cr3, page << 21)?;
        ensure!(to == page << 21, "{:#x} is mapped to {to:#x}", page << 21);
    }
    let tables = view
        .0
        .loads()
        .iter()
        .find(|load| load.range.start() == cr3)
        .unwrap();
    let LoadContent::Bytes(bytes) = &tables.content else {
        return Err(String::from("the page tables are not bytes"));
    };
    let large = bytes.chunks(8).filter(|entry| entry[0] & 0x80 != 0).count();
    ensure!(
        large == pages.len(),
        "{large} pages are mapped, {} are needed",
        pages.len()
    );
    Ok(())
}
