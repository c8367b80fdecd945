//! Requirements of pvh.pandoc and start_info.h.

use boot_core::{BootFile, BootPlan, BootRequest, GuestRange, LoadContent};

use super::{boot_cpu, check_extent, check_region};
use crate::view::View;

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
    // ET, bit 4, is not writable.
    ensure!(
        state.cr0 & !0x10 == 1 && state.cr4 == 0 && state.efer == 0,
        "the control registers"
    );
    ensure!(state.rflags & 0x2_0300 == 0, "flags {:#x}", state.rflags);
    ensure!(
        state.cs.descriptor() == 0x00cf_9b00_0000_ffff,
        "CS {:?}",
        state.cs
    );
    for segment in [state.ds, state.es, state.ss] {
        ensure!(
            segment.descriptor() == 0x00cf_9300_0000_ffff,
            "a data segment {segment:?}"
        );
    }
    let tr = state.tr;
    ensure!(
        (tr.base, tr.limit, tr.rights.bits()) == (0, 0x67, 0x8b),
        "TR {tr:?}"
    );
    let block = plan.loads().iter().find(|load| load.range.start() == state.rbx);
    ensure!(
        block.is_some_and(|load| load.range.end() <= 1 << 30),
        "Linux cannot read all of the start info at {:#x} early",
        state.rbx
    );
    let low = plan.loads().iter().all(|load| load.range.end() <= 1 << 32);
    ensure!(low && plan.kernel().end() <= 1 << 32, "something is above 4 GiB");

    let (view, info) = (View(plan), state.rbx);
    ensure!(
        (0x1000..1 << 32).contains(&info),
        "the start info is at {info:#x}"
    );
    let field = |offset: u64, len: u64| view.number(info + offset, len);
    ensure!(
        field(0, 4)? == 0x336e_c578 && field(4, 4)? == 1,
        "magic number or version"
    );
    ensure!(field(8, 4)? == 0 && field(52, 4)? == 0, "flags or reserved");
    let line = view.string(field(24, 8)?)?;
    ensure!(
        line == request.cmdline.to_string().as_bytes(),
        "the command line is {line:?}"
    );
    let rsdp = field(32, 8)?;
    ensure!(
        rsdp == request.machine.acpi_rsdp.unwrap_or(0),
        "the RSDP is said to be at {rsdp:#x}"
    );
    memory_map(request, &view, field(40, 8)?, field(48, 4)?)?;
    modules(request, plan, &view, field(16, 8)?, field(12, 4)?)
}

fn memory_map(request: &BootRequest<'_>, view: &View<'_>, table: u64, count: u64) -> Result<(), String> {
    let regions = request.machine.memory.regions();
    ensure!(
        count == regions.len() as u64,
        "{count} entries for {} regions",
        regions.len()
    );
    ensure!(table.is_multiple_of(8), "the memory map is at {table:#x}");
    for (i, region) in (0..).zip(regions) {
        let at = table + 24 * i;
        check_region(view, at, 8, region)?;
    }
    Ok(())
}

fn modules(
    request: &BootRequest<'_>,
    plan: &BootPlan,
    view: &View<'_>,
    table: u64,
    count: u64,
) -> Result<(), String> {
    let initrd = request.initrd_len;
    let mut wanted: Vec<_> = initrd
        .map(|len| (BootFile::Initrd, len.get(), String::new()))
        .into_iter()
        .collect();
    for (i, module) in request.modules.iter().enumerate() {
        wanted.push((BootFile::Module(i), module.len, module.cmdline.to_string()));
    }
    ensure!(
        count == wanted.len() as u64,
        "{count} modules, {} were asked for",
        wanted.len()
    );
    ensure!(
        (table == 0) == (count == 0) && table.is_multiple_of(8),
        "the module list is at {table:#x}"
    );
    for (i, (id, len, cmdline)) in (0..).zip(wanted) {
        let at = table + 32 * i;
        let (paddr, size) = (view.number(at, 8)?, view.number(at + 8, 8)?);
        let loads: Vec<_> = plan
            .loads()
            .iter()
            .filter(|load| matches!(load.content, LoadContent::File { id: found, .. } if found == id))
            .map(|load| load.range)
            .collect();
        let expected: &[GuestRange] = &[GuestRange::new(paddr, size).unwrap()];
        ensure!(size == len, "the {id} has {size:#x} bytes");
        if len == 0 {
            ensure!(
                paddr == 0 && loads.is_empty(),
                "the {id}, of no bytes, is at {paddr:#x}"
            );
        } else {
            ensure!(
                paddr % 0x1000 == 0 && loads == expected,
                "the {id} is at {paddr:#x}"
            );
        }
        let line = match view.number(at + 16, 8)? {
            0 => Vec::new(),
            line => view.string(line)?,
        };
        ensure!(
            line == cmdline.as_bytes(),
            "the {id} has the command line {line:?}"
        );
        ensure!(
            view.number(at + 24, 8)? == 0,
            "the {id} has something in a reserved field"
        );
    }
    Ok(())
}
