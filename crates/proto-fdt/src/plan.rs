//! Planning a boot: place everything, write the tree, say where the boot CPU starts.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::error::Error;

use boot_core::place::{Direction, Request};
use boot_core::{
    BootPlan, BootProtocol, BootRequest, Cmdline, CpuState, EntryAbi, GuestRange, Limits, Machine,
    PlacedKernel, PlacementError, Placer, PlanBuilder, PlanError, SourceId, Unsuitable, num, protocol,
};

use crate::blob::Blob;
use crate::fixup::{self, FixupError, Reservation};
use crate::layout::{Layout, MAX_TREE};
use crate::tree::{self, Chosen};

/// What the two protocols differ in.
pub(crate) struct Rules {
    /// The entry points that the protocol knows, best first. The first one is that of a Linux `Image`.
    pub(crate) entries: &'static [EntryAbi; 2],
    /// The longest command line of a Linux of that architecture, in bytes without the NUL.
    pub(crate) cmdline_max: usize,
    /// Where things may be.
    pub(crate) layout: &'static dyn Layout,
}

/// Plans a boot. `cpu` makes the boot CPU's state of its entry point, the address of the device tree and its id.
pub(crate) fn plan(
    protocol: &dyn BootProtocol,
    request: &BootRequest<'_>,
    rules: &Rules,
    cpu: impl FnOnce(u64, u64, u64) -> CpuState,
) -> Result<BootPlan, PlanError> {
    protocol::check_request(protocol, request)?;
    let name = protocol.name();
    refuse(name, request)?;
    let machine = request.machine;
    let [image_abi, _] = rules.entries;
    let abi = rules
        .entries
        .iter()
        .copied()
        .find(|abi| request.image.entry(*abi).is_some());
    let abi = abi.ok_or(no_entry(name, request, rules))?;
    // Only Linux is known to cut its command line; other programs read all of it.
    let cmdline_max = if abi == *image_abi {
        rules.cmdline_max
    } else {
        usize::MAX
    };

    let own_tree = match request.device_tree {
        Some(bytes) => Some(Blob::parse(bytes).map_err(|error| own(name, error))?),
        None => None,
    };
    let mut reserved = reserved(machine);
    if let Some(tree) = &own_tree {
        reserved.extend(fixup::reservations(tree).map_err(|error| own(name, error))?);
    }
    let mut placer = Placer::new(&machine.memory);
    avoid(&mut placer, reserved.iter().map(|reserved| reserved.range))?;
    let kernel_limits = rules.layout.kernel(machine, abi);
    let kernel = PlacedKernel::place_below(request.image, &mut placer, kernel_limits.max)?;
    let entry = kernel
        .entry(request.image, abi)
        .ok_or(no_entry(name, request, rules))?;

    let initrd = match request.initrd_len {
        None | Some(0) => None,
        Some(len) => Some(place(
            &mut placer,
            "initrd",
            len,
            rules.layout.initrd(machine, kernel.extent()),
        )?),
    };
    let chosen = Chosen {
        bootargs: &bootargs(request.cmdline, cmdline_max)?,
        initrd: initrd.map(|(range, _)| range),
        rng_seed: request.rng_seed,
        kaslr_seed: request.kaslr_seed,
    };
    let boot_cpu = tree::boot_cpu_id(&machine.platform.cpus)
        .or(own_tree.as_ref().map(|tree| tree.boot_cpu.into()))
        .unwrap_or(0);
    let dtb = match own_tree {
        Some(tree) => fitted(tree, machine, &chosen).map_err(|error| own(name, error))?,
        None => tree::write(machine, &chosen).map_err(|error| own(name, error))?,
    };
    let len = num::to_u64(dtb.len());
    if len > MAX_TREE {
        return Err(PlanError::TooLarge {
            protocol: name,
            what: "the length of the device tree",
            found: len,
            max: MAX_TREE,
        });
    }
    let windows = rules.layout.tree(machine, kernel.extent()).map(|window| {
        // A power of two that the tree fits in: it is 8-byte aligned, and crosses no boundary of 2 MiB.
        window.map(|limits| Limits {
            align: len.next_power_of_two().max(8),
            ..limits
        })
    });
    let mut placer = Placer::new(&machine.memory);
    let used = kernel.footprint().iter().copied().chain(chosen.initrd);
    avoid(&mut placer, used.chain(reserved.iter().map(kept_from_tree)))?;
    let (dtb_range, dtb_limits) = place(&mut placer, "device tree", len, windows)?;

    let mut builder = PlanBuilder::new(name, request, &kernel)
        .kernel_limits(kernel_limits)
        .bytes("device tree", dtb_range, dtb, dtb_limits)
        .cpu(cpu(entry, dtb_range.start(), boot_cpu));
    if let Some((range, limits)) = initrd {
        builder = builder.file("initrd", range, SourceId::Initrd, limits);
    }
    Ok(builder.build()?)
}

/// Refuses what a device tree has no words for.
fn refuse(protocol: &'static str, request: &BootRequest<'_>) -> Result<(), PlanError> {
    let what = if !request.modules.is_empty() {
        "modules"
    } else if request.machine.acpi_rsdp.is_some() {
        "the address of ACPI tables"
    } else {
        return Ok(());
    };
    Err(PlanError::NotInProtocol { protocol, what })
}

fn no_entry(protocol: &'static str, request: &BootRequest<'_>, rules: &Rules) -> PlanError {
    PlanError::Unsuitable {
        protocol,
        format: request.image.format(),
        reason: Unsuitable::NoEntry {
            expected: rules.entries,
        },
    }
}

fn own(protocol: &'static str, error: impl Error + Send + Sync + 'static) -> PlanError {
    PlanError::Protocol {
        protocol,
        source: Box::new(error),
    }
}

/// The bytes of `bootargs`; none for an empty command line.
fn bootargs(cmdline: &Cmdline, max: usize) -> Result<Vec<u8>, PlanError> {
    if cmdline.is_empty() {
        Ok(Vec::new())
    } else {
        Ok(cmdline.to_bytes(max)?)
    }
}

/// The caller's tree, fitted to this boot.
fn fitted(mut tree: Blob<'_>, machine: &Machine, chosen: &Chosen<'_>) -> Result<Vec<u8>, FixupError> {
    fixup::fix(&mut tree, &machine.memory, chosen)?;
    tree.to_bytes().ok_or(FixupError::TooLong)
}

fn reserved(machine: &Machine) -> Vec<Reservation> {
    let memory = &machine.platform.reserved_memory;
    memory
        .iter()
        .map(|memory| Reservation {
            range: memory.range,
            no_map: memory.no_map,
        })
        .collect()
}

/// What a reservation keeps the tree out of: the kernel maps the tree in blocks of 2 MiB, so no such block may hold
/// memory that it must not map (arm64 booting.rst, "Setup the device tree").
fn kept_from_tree(reserved: &Reservation) -> GuestRange {
    const BLOCK: u64 = 0x20_0000;
    let range = reserved.range;
    if !reserved.no_map {
        return range;
    }
    let start = num::align_down(range.start(), BLOCK);
    let end = num::align_up(range.end(), BLOCK).unwrap_or(u64::MAX);
    GuestRange::from_bounds(start, end).unwrap_or(range)
}

/// Keeps everything away from `ranges`, which may overlap each other.
fn avoid(placer: &mut Placer<'_>, ranges: impl Iterator<Item = GuestRange>) -> Result<(), PlacementError> {
    let mut ranges: Vec<GuestRange> = ranges.collect();
    ranges.sort_unstable();
    ranges.dedup_by(|later, earlier| {
        let meet = later.start() <= earlier.end();
        if meet {
            *earlier = earlier.hull(*later);
        }
        meet
    });
    ranges
        .into_iter()
        .try_for_each(|range| placer.avoid("reserved memory", range))
}

/// Finds the highest place in the first window that has room, and takes it.
fn place(
    placer: &mut Placer<'_>,
    label: &'static str,
    len: u64,
    windows: [Option<Limits>; 2],
) -> Result<(GuestRange, Limits), PlacementError> {
    let mut refusal = None;
    for limits in windows.into_iter().flatten() {
        let request = Request {
            label,
            len,
            align: limits.align,
            align_offset: 0,
            min: limits.min,
            max: limits.max,
            direction: Direction::Highest,
        };
        match placer.allocate(&request) {
            Ok(range) => return Ok((range, limits)),
            Err(error) => refusal = Some(error),
        }
    }
    // Without a window there is no address below which there could be room.
    let nowhere = Request {
        max: 0,
        ..Request::pages(label, len)
    };
    Err(refusal.unwrap_or(PlacementError::NoRoom(nowhere)))
}
