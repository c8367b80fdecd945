//! Planning a boot: place everything, write the tree, say where the boot CPU starts.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::error::Error;

use boot_core::place::{Direction, Request};
use boot_core::{
    BootPlan, BootProtocol, BootRequest, Cmdline, CpuState, EntryAbi, GuestRange, KernelImage, Limits,
    Machine, PlacedKernel, PlacementError, Placer, PlanBuilder, PlanError, RegionKind, SourceId, Unsuitable,
    num, protocol,
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
        let told = fixup::reservations(tree).map_err(|error| own(name, error))?;
        fixup::check_reserved(&machine.platform.reserved_memory, &told).map_err(|error| own(name, error))?;
        reserved.extend(told);
    }
    let mut placer = Placer::new(&machine.memory);
    avoid(&mut placer, reserved.iter().map(|reserved| reserved.range))?;
    let kernel_limits = rules.layout.kernel(machine, abi);
    let max = kernel_limits.max;
    let preferred = rules.layout.preferred(machine, request.image);
    let kernel =
        match preferred.and_then(|base| PlacedKernel::place_at(request.image, &mut placer, base, max)) {
            Some(kernel) => kernel,
            None => PlacedKernel::place_below(request.image, &mut placer, max)?,
        };
    let entry = kernel
        .entry(request.image, abi)
        .ok_or(no_entry(name, request, rules))?;

    let floor = floor(request.image, &kernel);
    let mut placer = Placer::new(&machine.memory);
    let kept = reserved.iter().map(|reserved| reserved.kept_from(KERNEL_PAGE));
    avoid(&mut placer, kernel.footprint().iter().copied().chain(kept))?;
    let initrd = match request.initrd_len {
        None | Some(0) => None,
        Some(len) => {
            let windows = rules.layout.initrd(machine, kernel.extent());
            Some(place(&mut placer, "initrd", len, above(windows, floor))?)
        }
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
    let windows = above(rules.layout.tree(machine, kernel.extent()), floor);
    let used = kernel.footprint().iter().copied().chain(chosen.initrd);
    let (dtb_range, dtb_limits) = place_tree(machine, len, windows, used, &reserved)?;

    let mut builder = PlanBuilder::new(name, request, &kernel)
        .kernel_limits(kernel_limits)
        .bytes("device tree", dtb_range, dtb, dtb_limits)
        .cpu(cpu(entry, dtb_range.start(), boot_cpu));
    if let Some(warning) = lost_ram(machine, floor) {
        builder = builder.warning(warning);
    }
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

/// What the kernel maps its tree in (arm64 booting.rst, "Setup the device tree").
const BLOCK: u64 = 0x20_0000;

/// The largest page of any kernel. Linux keeps an initrd by whole pages, and then does not take memory out of its map that
/// shares one of them (`arm64_memblock_init`, `early_init_dt_reserve_memory`).
const KERNEL_PAGE: u64 = 0x1_0000;

/// The lowest address that the kernel reaches, where it does not reach all of RAM: an arm64 `Image` without "placed
/// anywhere" has no linear mapping below its base (arm64 booting.rst, flags, bit 3).
fn floor(image: &KernelImage, kernel: &PlacedKernel) -> u64 {
    let is_floored = image
        .facts()
        .arm64_image
        .is_some_and(|facts| !facts.is_placed_anywhere);
    if is_floored {
        num::align_down(kernel.extent().start(), BLOCK)
    } else {
        0
    }
}

/// A warning where there is RAM below `floor` in which a smaller kernel could have been.
fn lost_ram(machine: &Machine, floor: u64) -> Option<String> {
    let first = machine.memory.ram().next()?;
    (num::align_up(first.start(), BLOCK)? < floor).then(|| {
        format!(
            "the kernel cannot use the RAM below {floor:#x}, where the lowest room for it is: it is one of those that have to be \
             near the start of RAM"
        )
    })
}

/// The parts of `windows` from `floor` on.
fn above(windows: [Option<Limits>; 2], floor: u64) -> [Option<Limits>; 2] {
    windows.map(|window| {
        window.map(|limits| Limits {
            min: limits.min.max(floor),
            ..limits
        })
    })
}

/// The blocks that have something other than RAM in them: devices, or regions of the memory map that are no RAM.
fn other_than_ram(machine: &Machine) -> impl Iterator<Item = GuestRange> + '_ {
    let regions = machine.memory.regions().iter();
    let regions = regions.filter(|region| region.kind != RegionKind::Ram);
    let devices = tree::check::devices(machine).into_iter().map(|(_, range)| range);
    regions
        .map(|region| region.range)
        .chain(devices)
        .map(|range| widened(range, BLOCK))
}

/// `range` out to multiples of `align`.
fn widened(range: GuestRange, align: u64) -> GuestRange {
    let start = num::align_down(range.start(), align);
    let end = num::align_up(range.end(), align).unwrap_or(u64::MAX);
    GuestRange::from_bounds(start, end).unwrap_or(range)
}

impl Reservation {
    /// What the reservation keeps something out of that the kernel maps by multiples of `align`: all of these that have
    /// memory which it must not map.
    fn kept_from(&self, align: u64) -> GuestRange {
        if self.no_map {
            widened(self.range, align)
        } else {
            self.range
        }
    }
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

/// Finds a place for the device tree, which is `len` bytes long, clear of what is `used` and `reserved`.
fn place_tree(
    machine: &Machine,
    len: u64,
    windows: [Option<Limits>; 2],
    used: impl Iterator<Item = GuestRange> + Clone,
    reserved: &[Reservation],
) -> Result<(GuestRange, Limits), PlacementError> {
    let windows = windows.map(|window| {
        // A power of two that the tree fits in: it is 8-byte aligned, and crosses no boundary of 2 MiB.
        window.map(|limits| Limits {
            align: len.next_power_of_two().max(8),
            ..limits
        })
    });
    let kept = reserved.iter().map(|reserved| reserved.kept_from(BLOCK));
    let taken = used.chain(kept);
    // Rather in a block that has nothing but RAM: what else is there may need to be mapped in another way.
    let mut placer = Placer::new(&machine.memory);
    avoid(&mut placer, taken.clone().chain(other_than_ram(machine)))?;
    if let Ok(placed) = place(&mut placer, "device tree", len, windows) {
        return Ok(placed);
    }
    let mut placer = Placer::new(&machine.memory);
    avoid(&mut placer, taken)?;
    place(&mut placer, "device tree", len, windows)
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
