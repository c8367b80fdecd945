//! Planning a boot: place everything, write the tree, say where the boot CPU starts.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::error::Error;

use boot_core::{
    BootFile, BootPlan, BootProtocol, BootRequest, Cmdline, Constraints, CpuState, EntryAbi, GuestRange,
    IncompatibleImage, KernelImage, Machine, PlacedKernel, PlacementError, PlanBuilder, PlanError,
    RamAllocator, RegionKind, arith, protocol,
};

use boot_linux::arm64::ImageMetadata;

use crate::blob::Blob;
use crate::fixup::{self, FixupError, Reservation};
use crate::layout::{Layout, MAX_TREE};
use crate::tree::{self, Chosen};
use crate::warning::Warning;

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
    protocol::validate_request(protocol, request)?;
    let name = protocol.name();
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
    let mut allocator = RamAllocator::new(&machine.memory);
    avoid(&mut allocator, reserved.iter().map(|reserved| reserved.range))?;
    let kernel_constraints = rules.layout.kernel(machine, abi);
    let max = kernel_constraints.max;
    let preferred = rules.layout.preferred(machine, request.image);
    let kernel =
        match preferred.and_then(|base| PlacedKernel::place_at(request.image, &mut allocator, base, max)) {
            Some(kernel) => kernel,
            None => PlacedKernel::place_below(request.image, &mut allocator, max)?,
        };
    let entry = kernel
        .entry(request.image, abi)
        .ok_or(no_entry(name, request, rules))?;

    let floor = floor(request.image, &kernel);
    let mut allocator = RamAllocator::new(&machine.memory);
    let kept = reserved.iter().map(|reserved| reserved.kept_from(KERNEL_PAGE));
    avoid(
        &mut allocator,
        kernel.occupied_ranges().iter().copied().chain(kept),
    )?;
    let initrd = match request.initrd_len {
        None => None,
        Some(len) => {
            let windows = rules.layout.initrd(machine, kernel.extent());
            Some(place(&mut allocator, "initrd", len.get(), above(windows, floor))?)
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
    let len = arith::to_u64(dtb.len());
    if len > MAX_TREE {
        return Err(PlanError::TooLarge {
            protocol: name,
            what: "the length of the device tree",
            found: len,
            max: MAX_TREE,
        });
    }
    let windows = above(rules.layout.tree(machine, kernel.extent()), floor);
    let used = kernel.occupied_ranges().iter().copied().chain(chosen.initrd);
    let (dtb_range, dtb_constraints) = place_tree(machine, len, windows, used, &reserved)?;

    let mut builder = PlanBuilder::new(name, request, &kernel)
        .kernel_constraints(kernel_constraints)
        .bytes("device tree", dtb_range, dtb, dtb_constraints)
        .cpu(cpu(entry, dtb_range.start(), boot_cpu));
    if let Some(warning) = lost_ram(machine, floor) {
        builder = builder.warning(warning);
    }
    if let Some((range, constraints)) = initrd {
        builder = builder.file("initrd", range, BootFile::Initrd, constraints);
    }
    Ok(builder.build()?)
}

fn no_entry(protocol: &'static str, request: &BootRequest<'_>, rules: &Rules) -> PlanError {
    PlanError::Incompatible {
        protocol,
        format: request.image.format(),
        reason: IncompatibleImage::NoEntry {
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
        .metadata::<ImageMetadata>()
        .is_some_and(|metadata| !metadata.is_placed_anywhere);
    if is_floored {
        arith::align_down(kernel.extent().start(), BLOCK)
    } else {
        0
    }
}

/// A warning where there is RAM below `floor` in which a smaller kernel could have been.
fn lost_ram(machine: &Machine, floor: u64) -> Option<Warning> {
    let first = machine.memory.ram().next()?;
    (arith::align_up(first.start(), BLOCK)? < floor).then_some(Warning::UnusableRam { floor })
}

/// The parts of `windows` from `floor` on.
fn above(windows: [Option<Constraints>; 2], floor: u64) -> [Option<Constraints>; 2] {
    windows.map(|window| window.map(|constraints| constraints.not_below(floor)))
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
    let start = arith::align_down(range.start(), align);
    let end = arith::align_up(range.end(), align).unwrap_or(u64::MAX);
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
fn avoid(
    allocator: &mut RamAllocator<'_>,
    ranges: impl Iterator<Item = GuestRange>,
) -> Result<(), PlacementError> {
    let mut ranges: Vec<GuestRange> = ranges.collect();
    ranges.sort_unstable();
    ranges.dedup_by(|later, earlier| {
        let meet = later.start() <= earlier.end();
        if meet {
            *earlier = earlier.span(*later);
        }
        meet
    });
    ranges
        .into_iter()
        .try_for_each(|range| allocator.exclude("reserved memory", range))
}

/// Finds a place for the device tree, which is `len` bytes long, clear of what is `used` and `reserved`.
fn place_tree(
    machine: &Machine,
    len: u64,
    windows: [Option<Constraints>; 2],
    used: impl Iterator<Item = GuestRange> + Clone,
    reserved: &[Reservation],
) -> Result<(GuestRange, Constraints), PlacementError> {
    let windows = windows.map(|window| {
        // A power of two that the tree fits in: it is 8-byte aligned, and crosses no boundary of 2 MiB.
        window.map(|constraints| constraints.with_align(len.next_power_of_two().max(8)))
    });
    let kept = reserved.iter().map(|reserved| reserved.kept_from(BLOCK));
    let taken = used.chain(kept);
    // Rather in a block that has nothing but RAM: what else is there may need to be mapped in another way.
    let mut allocator = RamAllocator::new(&machine.memory);
    avoid(&mut allocator, taken.clone().chain(other_than_ram(machine)))?;
    if let Ok(placed) = place(&mut allocator, "device tree", len, windows) {
        return Ok(placed);
    }
    let mut allocator = RamAllocator::new(&machine.memory);
    avoid(&mut allocator, taken)?;
    place(&mut allocator, "device tree", len, windows)
}

/// Finds the highest place in the first window that has room, and takes it.
fn place(
    allocator: &mut RamAllocator<'_>,
    label: &'static str,
    len: u64,
    windows: [Option<Constraints>; 2],
) -> Result<(GuestRange, Constraints), PlacementError> {
    let mut refusal = None;
    for constraints in windows.into_iter().flatten().map(Constraints::highest) {
        match allocator.allocate(label, len, &constraints) {
            Ok(range) => return Ok((range, constraints)),
            Err(error) => refusal = Some(error),
        }
    }
    // Without a window no address is allowed.
    Err(refusal.unwrap_or(PlacementError::NoRoom {
        label,
        len,
        constraints: Constraints::NONE.between(0, 0),
    }))
}
