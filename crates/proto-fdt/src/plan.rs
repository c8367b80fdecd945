//! The planner of both protocols.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::error::Error;

use boot_core::{
    BootFile, BootPlan, BootProtocol, BootRequest, CmdlineRef, Constraints, CpuState, EntryAbi, GuestRange,
    IncompatibleImage, KernelImage, Machine, PlacedKernel, Placement, PlacementError, PlanBuilder, PlanError,
    RamAllocator, RegionKind, arith, protocol,
};
use boot_linux::arm64::ImageMetadata;

use crate::chosen::Chosen;
use crate::create::{boot_cpu_id, create_fdt, device_ranges};
use crate::device_tree::DeviceTree;
use crate::layout::{Layout, MAX_FDT_SIZE};
use crate::update::{ReservedRange, UpdateFdtError, check_reserved_memory, reserved_ranges, update_fdt};
use crate::warning::Warning;

/// Parameters of one protocol.
pub(crate) struct Parameters {
    /// The entry points that the protocol supports, in order of preference. The first is that of a Linux `Image`.
    pub(crate) entries: &'static [EntryAbi; 2],
    /// The longest command line of Linux, in bytes without the NUL.
    pub(crate) cmdline_max: usize,
    /// The placement rules.
    pub(crate) layout: &'static dyn Layout,
}

/// Plans a boot. `cpu` returns the entry state of the boot CPU; its arguments are the entry point, the address of the device
/// tree and the id of the CPU.
pub(crate) fn plan(
    protocol: &dyn BootProtocol,
    request: &BootRequest<'_>,
    parameters: &Parameters,
    cpu: impl FnOnce(u64, u64, u64) -> CpuState,
) -> Result<BootPlan, PlanError> {
    protocol::validate_request(protocol, request)?;
    let name = protocol.name();
    let (image, machine) = (request.image, request.machine);
    let [image_abi, _] = parameters.entries;
    let abi = parameters
        .entries
        .iter()
        .copied()
        .find(|abi| image.entry(*abi).is_some());
    let abi = abi.ok_or(no_entry(name, request, parameters))?;
    // Linux truncates a longer command line. Other programs have no known limit.
    let cmdline_max = if abi == *image_abi {
        parameters.cmdline_max
    } else {
        usize::MAX
    };

    let caller_tree = match request.device_tree {
        Some(bytes) => Some(DeviceTree::parse(bytes).map_err(|error| protocol_error(name, error))?),
        None => None,
    };
    let mut reserved: Vec<ReservedRange> = machine
        .platform
        .reserved_memory
        .iter()
        .map(ReservedRange::from)
        .collect();
    if let Some(tree) = &caller_tree {
        let in_tree = reserved_ranges(tree).map_err(|error| protocol_error(name, error))?;
        check_reserved_memory(&machine.platform.reserved_memory, &in_tree)
            .map_err(|error| protocol_error(name, error))?;
        reserved.extend(in_tree);
    }
    let mut allocator = RamAllocator::new(&machine.memory);
    exclude_all(&mut allocator, reserved.iter().map(|reserved| reserved.range))?;
    let kernel_constraints = parameters.layout.kernel(machine, abi);
    let max = kernel_constraints.max;
    let kernel = match parameters
        .layout
        .preferred_base(machine, image)
        .and_then(|base| PlacedKernel::place_at(image, &mut allocator, base, max))
    {
        Some(kernel) => kernel,
        None => PlacedKernel::place_below(image, &mut allocator, max)?,
    };
    let entry = kernel
        .entry(image, abi)
        .ok_or(no_entry(name, request, parameters))?;

    let base = base(image, &kernel);
    let lowest = if is_bounded(image) { base } else { 0 };
    let mut allocator = RamAllocator::new(&machine.memory);
    let unmappable = reserved.iter().map(|reserved| reserved.excluded(MAX_PAGE_SIZE));
    exclude_all(
        &mut allocator,
        kernel.occupied_ranges().iter().copied().chain(unmappable),
    )?;
    let initrd = match request.initrd_len {
        None => None,
        Some(len) => {
            let windows = not_below(parameters.layout.initrd(machine, kernel.extent()), lowest);
            Some(place(&mut allocator, "initrd", len.get(), windows)?)
        }
    };
    let bootargs = bootargs(request.cmdline, cmdline_max)?;
    let chosen = Chosen {
        bootargs: &bootargs,
        initrd: initrd.map(|(range, _)| range),
        rng_seed: request.rng_seed,
        kaslr_seed: request.kaslr_seed,
    };
    let boot_cpu = boot_cpu_id(&machine.platform.cpus)
        .or(caller_tree.as_ref().map(|tree| tree.boot_cpuid_phys.into()))
        .unwrap_or(0);
    let dtb = match caller_tree {
        Some(tree) => updated(tree, machine, &chosen).map_err(|error| protocol_error(name, error))?,
        None => create_fdt(machine, &chosen).map_err(|error| protocol_error(name, error))?,
    };
    let len = arith::to_u64(dtb.len());
    if len > MAX_FDT_SIZE {
        return Err(PlanError::TooLarge {
            protocol: name,
            what: "the length of the device tree",
            found: len,
            max: MAX_FDT_SIZE,
        });
    }
    let windows = not_below(parameters.layout.device_tree(machine, base), lowest);
    let used = kernel.occupied_ranges().iter().copied().chain(chosen.initrd);
    let (dtb_range, dtb_constraints) = place_device_tree(machine, len, windows, used, &reserved)?;

    let mut builder = PlanBuilder::new(name, request, &kernel)
        .kernel_constraints(kernel_constraints)
        .bytes("device tree", dtb_range, dtb, dtb_constraints)
        .cpu(cpu(entry, dtb_range.start(), boot_cpu));
    if has_ram_below(machine, lowest) {
        builder = builder.warning(Warning::UnusableRam { below: lowest });
    }
    if let Some((range, constraints)) = initrd {
        builder = builder.file("initrd", range, BootFile::Initrd, constraints);
    }
    Ok(builder.build()?)
}

fn no_entry(protocol: &'static str, request: &BootRequest<'_>, parameters: &Parameters) -> PlanError {
    PlanError::Incompatible {
        protocol,
        format: request.image.format(),
        reason: IncompatibleImage::NoEntry {
            expected: parameters.entries,
        },
    }
}

fn protocol_error(protocol: &'static str, error: impl Error + Send + Sync + 'static) -> PlanError {
    PlanError::Protocol {
        protocol,
        source: Box::new(error),
    }
}

/// The value of `bootargs`, empty for an empty command line.
fn bootargs(cmdline: CmdlineRef<'_>, max: usize) -> Result<Vec<u8>, PlanError> {
    if cmdline.is_empty() {
        Ok(Vec::new())
    } else {
        Ok(cmdline.to_bytes(max)?)
    }
}

/// Updates the tree of the request for this boot, and serializes it.
fn updated(
    mut tree: DeviceTree<'_>,
    machine: &Machine,
    chosen: &Chosen<'_>,
) -> Result<Vec<u8>, UpdateFdtError> {
    update_fdt(&mut tree, &machine.memory, chosen)?;
    tree.to_bytes().ok_or(UpdateFdtError::TooLarge)
}

/// Kernels map the device tree in blocks of this size (arm64 booting.rst, "Setup the device tree").
const BLOCK_SIZE: u64 = 0x20_0000;

/// The largest page size of arm64 and riscv64 kernels. Linux reserves the whole pages of the initrd, and later ignores
/// `no-map` for memory in these pages (`arm64_memblock_init`, `early_init_dt_reserve_memory`).
const MAX_PAGE_SIZE: u64 = 0x1_0000;

/// The 2 MiB boundary that the image is relative to: `text_offset` bytes below an arm64 `Image`, and the one at or below other
/// kernels.
fn base(image: &KernelImage, kernel: &PlacedKernel) -> u64 {
    let offset = match image.placement() {
        Placement::Relocatable(rule) => rule.base_offset,
        Placement::Fixed => 0,
    };
    arith::align_down(kernel.extent().start().saturating_sub(offset), BLOCK_SIZE)
}

/// Whether the kernel cannot use memory below its base: an arm64 `Image` with a clear bit 3 of `flags`, which has no linear
/// mapping there (arm64 booting.rst).
fn is_bounded(image: &KernelImage) -> bool {
    image
        .metadata::<ImageMetadata>()
        .is_some_and(|metadata| !metadata.is_placed_anywhere)
}

/// Whether RAM contains a block boundary below `addr`, where a smaller kernel could start.
fn has_ram_below(machine: &Machine, addr: u64) -> bool {
    let first = machine.memory.ram().next();
    first
        .and_then(|ram| arith::align_up(ram.start(), BLOCK_SIZE))
        .is_some_and(|start| start < addr)
}

/// `windows` without the addresses below `min`.
fn not_below(windows: [Option<Constraints>; 2], min: u64) -> [Option<Constraints>; 2] {
    windows.map(|window| window.map(|constraints| constraints.not_below(min)))
}

/// The blocks that contain a device or a region of the memory map other than RAM.
fn blocks_with_other_than_ram(machine: &Machine) -> impl Iterator<Item = GuestRange> + '_ {
    let regions = machine.memory.regions().iter();
    let regions = regions.filter(|region| region.kind != RegionKind::Ram);
    let devices = device_ranges(machine).into_iter().map(|(_, range)| range);
    regions
        .map(|region| region.range)
        .chain(devices)
        .map(|range| aligned_out(range, BLOCK_SIZE))
}

/// The smallest range that contains `range` and has multiples of `align` as bounds; it ends at the last address if no
/// multiple follows.
fn aligned_out(range: GuestRange, align: u64) -> GuestRange {
    let start = arith::align_down(range.start(), align);
    let end = arith::align_up(range.end(), align).unwrap_or(u64::MAX);
    GuestRange::from_bounds(start, end).unwrap_or(range)
}

impl ReservedRange {
    /// The addresses to keep free for loads that the kernel maps in blocks of `align` bytes.
    fn excluded(&self, align: u64) -> GuestRange {
        if self.no_map {
            aligned_out(self.range, align)
        } else {
            self.range
        }
    }
}

/// Excludes `ranges` from allocation. They may overlap each other.
fn exclude_all(
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

/// Places the device tree of `len` bytes outside of `used` and `reserved`.
fn place_device_tree(
    machine: &Machine,
    len: u64,
    windows: [Option<Constraints>; 2],
    used: impl Iterator<Item = GuestRange> + Clone,
    reserved: &[ReservedRange],
) -> Result<(GuestRange, Constraints), PlacementError> {
    let windows = windows.map(|window| {
        // An alignment of at least the length keeps the tree inside one block of 2 MiB.
        window.map(|constraints| constraints.with_align(len.next_power_of_two().max(8)))
    });
    let excluded = used.chain(reserved.iter().map(|reserved| reserved.excluded(BLOCK_SIZE)));
    // A block of only RAM is preferred: the kernel may have to map devices with other attributes.
    let mut allocator = RamAllocator::new(&machine.memory);
    exclude_all(
        &mut allocator,
        excluded.clone().chain(blocks_with_other_than_ram(machine)),
    )?;
    if let Ok(placed) = place(&mut allocator, "device tree", len, windows) {
        return Ok(placed);
    }
    let mut allocator = RamAllocator::new(&machine.memory);
    exclude_all(&mut allocator, excluded)?;
    place(&mut allocator, "device tree", len, windows)
}

/// Allocates at the highest address in the first window that has room.
fn place(
    allocator: &mut RamAllocator<'_>,
    label: &'static str,
    len: u64,
    windows: [Option<Constraints>; 2],
) -> Result<(GuestRange, Constraints), PlacementError> {
    let mut failed = None;
    for constraints in windows.into_iter().flatten().map(Constraints::highest) {
        match allocator.allocate(label, len, &constraints) {
            Ok(range) => return Ok((range, constraints)),
            Err(error) => failed = Some(error),
        }
    }
    // Without a window, no address is allowed.
    Err(failed.unwrap_or(PlacementError::NoRoom {
        label,
        len,
        constraints: Constraints::NONE.between(0, 0),
    }))
}
