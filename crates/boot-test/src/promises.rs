//! The promises of every plan, checked in the simplest way.

use std::num::NonZeroU64;

use boot_core::{
    BootFile, BootPlan, BootRequest, CpuState, GuestRange, KernelImage, Load, LoadContent, MemoryMap,
    Placement, RegionKind,
};

/// Whether every byte of `start..end` is RAM.
fn is_ram(map: &MemoryMap, start: u64, end: u64) -> bool {
    let mut at = start;
    while at < end {
        let region = map
            .regions()
            .iter()
            .find(|region| region.range.start() <= at && at < region.range.end());
        match region {
            Some(region) if region.kind == RegionKind::Ram => at = region.range.end(),
            _ => return false,
        }
    }
    true
}

fn share_a_byte(a: GuestRange, b: GuestRange) -> bool {
    a.start().max(b.start()) < a.end().min(b.end())
}

/// Checks loads: they are in RAM, do not overlap each other or the kernel, meet their constraints, and are as long as their
/// content.
///
/// # Errors
///
/// A description of the first promise that is broken.
///
/// # Panics
///
/// If the kernel is moved past the end of the address space.
pub fn loads(request: &BootRequest<'_>, loads: &[Load], kernel: GuestRange) -> Result<(), String> {
    let map = &request.machine.memory;
    let moved = kernel.start().wrapping_sub(request.image.extent().start());
    let occupied_ranges: Vec<_> = request
        .image
        .occupied_ranges()
        .map(|part| GuestRange::new(part.start().wrapping_add(moved), part.len()).unwrap())
        .collect();
    for (i, load) in loads.iter().enumerate() {
        let (start, end) = (load.range.start(), load.range.end());
        let name = format!("{} at {}", load.label, load.range);
        ensure!(start < end, "{name} is empty");
        ensure!(
            is_ram(map, start, end)
                || load.region() != RegionKind::Ram && map.is_kind(load.range, load.region()),
            "{name} is not in memory"
        );
        ensure!(
            load.constraints.align.is_power_of_two() && start & (load.constraints.align - 1) == 0,
            "{name} is not aligned to {:#x}",
            load.constraints.align
        );
        ensure!(
            load.constraints.min <= start && end <= load.constraints.max,
            "{name} is outside {:?}",
            load.constraints
        );
        for other in &loads[i + 1..] {
            ensure!(
                !share_a_byte(load.range, other.range),
                "{name} overlaps {other:?}"
            );
        }
        if !load.is_kernel() {
            for part in &occupied_ranges {
                ensure!(
                    !share_a_byte(load.range, *part),
                    "{name} is in the kernel's {part}"
                );
            }
        }
        let len = match &load.content {
            LoadContent::File { id, range } => {
                let file = match id {
                    BootFile::Kernel => Some(request.image.source_len()),
                    BootFile::Initrd => request.initrd_len.map(NonZeroU64::get),
                    BootFile::Module(index) => request.modules.get(*index).map(|module| module.len),
                    _ => None,
                };
                ensure!(
                    file.is_some_and(|file| range.end() <= file),
                    "{name} is past the end of {id}"
                );
                range.end() - range.offset()
            }
            LoadContent::Bytes(bytes) => bytes.len() as u64,
            LoadContent::Zeros | LoadContent::Present => end - start,
            content => return Err(format!("{name} has unknown content {content:?}")),
        };
        ensure!(len == end - start, "{name} has {len:#x} bytes of content");
    }
    for part in &occupied_ranges {
        ensure!(
            is_ram(map, part.start(), part.end()),
            "the kernel's {part} is not RAM"
        );
    }
    Ok(())
}

/// Checks the kernel's loads: the segments of the image, moved as its placement rule allows.
fn kernel(image: &KernelImage, plan: &BootPlan, map: &MemoryMap) -> Result<(), String> {
    let (from, to) = (image.extent(), plan.kernel());
    ensure!(from.len() == to.len(), "the extent {from} became {to}");
    match image.placement() {
        Placement::Fixed => ensure!(from == to, "a fixed image moved from {from} to {to}"),
        Placement::Relocatable(rule) => {
            ensure!(
                rule.min <= to.start()
                    && to.end() <= rule.max
                    && to.start() % rule.align == rule.align_offset,
                "{to} breaks {rule:?}"
            );
            let base = to.start().checked_sub(rule.base_offset);
            ensure!(
                base.is_some_and(|base| rule.base_offset == 0 || is_ram(map, base, base + 1)),
                "the base of {to} is not RAM: {rule:?}"
            );
        }
    }
    let mut found: Vec<_> = plan.loads().iter().filter(|load| load.is_kernel()).collect();
    for segment in image.segments() {
        let start = segment.range.start() - from.start() + to.start();
        let filled = start + (segment.source.end() - segment.source.offset());
        let end = start + segment.range.len();
        let mut take = |start, end, content: &dyn Fn(&LoadContent) -> bool| {
            if start == end {
                return Ok(());
            }
            let wanted = found.iter().position(|load| {
                load.range.start() == start && load.range.end() == end && content(&load.content)
            });
            found.remove(wanted.ok_or(format!("no load for {segment:?} at {start:#x}..{end:#x}"))?);
            Ok::<_, String>(())
        };
        take(
            start,
            filled,
            &|content| matches!(content, LoadContent::File { id: BootFile::Kernel, range } if *range == segment.source),
        )?;
        take(filled, end, &|content| matches!(content, LoadContent::Zeros))?;
    }
    ensure!(
        found.is_empty(),
        "the kernel has the loads {found:?} beyond its segments"
    );
    Ok(())
}

/// Checks all promises of [`BootPlan`] for the plan of `request`, on x86_64.
///
/// # Errors
///
/// A description of the first promise that is broken.
///
/// # Panics
///
/// If the plan moves the kernel past the end of the address space.
pub fn plan(request: &BootRequest<'_>, plan: &BootPlan) -> Result<(), String> {
    loads(request, plan.loads(), plan.kernel())?;
    kernel(request.image, plan, &request.machine.memory)?;
    ensure!(
        plan.memory() == &request.machine.memory,
        "the guest gets another memory map"
    );
    ensure!(!plan.cpus().is_empty(), "no CPU is started");
    for cpu in plan.cpus() {
        let entry = match cpu {
            CpuState::X86_64(state) => state.cs.base + state.rip,
            other => return Err(format!("a CPU state for {}", other.arch())),
        };
        let inside =
            |load: &Load| load.is_kernel() && load.range.start() <= entry && entry < load.range.end();
        ensure!(
            plan.loads().iter().any(inside),
            "a CPU starts at {entry:#x}, outside the kernel"
        );
    }
    Ok(())
}
