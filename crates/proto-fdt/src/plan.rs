//! The planner of both protocols.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::error::Error;

use boot_core::placement::Piece;
use boot_core::{
    BootFile, BootPlan, BootProtocol, BootRequest, CmdlineRef, Constraints, CpuState, EntryAbi, GuestRange,
    IncompatibleImage, KernelImage, Load, LoadContent, Machine, MemoryMap, PlacedAdditional, PlacedKernel,
    Placement, PlacementError, PlanBuilder, PlanError, RamAllocator, RegionKind, arith, protocol,
};
use boot_linux::arm64::ImageMetadata;

use crate::chosen::Chosen;
use crate::create::{boot_cpu_id, create_chosen_fdt, create_fdt, device_ranges};
use crate::device_tree::DeviceTree;
use crate::efi::{Block, EfiHandover, EfiTables, PAGE};
use crate::label;
use crate::layout::{Layout, MAX_FDT_SIZE};
use crate::reserved::ReservedRange;
use crate::update::{UpdateFdtError, check_reserved_memory, reserved_ranges, update_fdt};
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
    cpu: impl Fn(u64, u64, u64) -> CpuState,
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
    let reserved = all_reserved(name, machine, caller_tree.as_ref())?;
    let planner = Planner {
        name,
        request,
        parameters,
        abi,
        cmdline_max,
        caller_tree,
        reserved,
    };
    protocol::plan_around_fixed(request, |ram| planner.plan(ram, &cpu))
}

/// What does not depend on the placement of the pieces.
struct Planner<'a> {
    name: &'static str,
    request: &'a BootRequest<'a>,
    parameters: &'a Parameters,
    abi: EntryAbi,
    /// The longest command line, in bytes without the NUL.
    cmdline_max: usize,
    caller_tree: Option<DeviceTree<'a>>,
    /// The reserved memory of machine and tree.
    reserved: Vec<ReservedRange>,
}

impl Planner<'_> {
    /// Plans the boot with the RAM of `ram`. `cpu` is that of [`plan`].
    fn plan(
        &self,
        ram: &RamAllocator<'_>,
        cpu: impl Fn(u64, u64, u64) -> CpuState,
    ) -> Result<BootPlan, PlanError> {
        let Self {
            name,
            request,
            parameters,
            cmdline_max,
            caller_tree,
            reserved,
            ..
        } = self;
        let (name, cmdline_max, machine) = (*name, *cmdline_max, request.machine);
        let First {
            kernel,
            kernel_constraints,
            entry,
            base,
            lowest,
            additional,
        } = self.place_first(ram)?;
        let unmappable = || reserved.iter().map(|reserved| reserved.excluded(MAX_PAGE_SIZE));
        let of_kernel = kernel_ranges(&kernel);
        let bootargs = bootargs(request.cmdline, cmdline_max)?;
        let mut described = machine.clone();
        described.memory = additional.memory().clone();
        let efi = EfiTables::of(&described, reserved);
        let contents = TreeContents {
            protocol: name,
            request,
            caller_tree: caller_tree.as_ref(),
            machine: &described,
        };
        // The length depends on neither the initrd's address nor on a command line up to the requested capacity.
        let longest = longest_bootargs(request.cmdline_bytes(cmdline_max)?.len(), &bootargs);
        let mut used = of_kernel;
        let labels = request.additional_loads.iter().map(|load| load.label);
        used.extend(labels.zip(additional.ranges().iter().copied()));
        let fixed_tree = ram.fixed_address(label::DEVICE_TREE);
        let fixed_efi = efi
            .as_ref()
            .and_then(|tables| GuestRange::new(ram.fixed_address(label::EFI_TABLES)?, tables.len()));
        let place_initrd = |tree_len| {
            let Some(initrd_len) = request.initrd_len else {
                return Ok(None);
            };
            let mut allocator = allocator(ram, &used, unmappable());
            if let Some(range) = fixed_tree.and_then(|addr| GuestRange::new(addr, tree_len)) {
                allocator.keep(label::DEVICE_TREE, range);
            }
            if let Some(range) = fixed_efi {
                allocator.keep(label::EFI_TABLES, range);
            }
            let windows = not_below(parameters.layout.initrd(machine, kernel.extent()), lowest);
            place(&mut allocator, label::INITRD, initrd_len.get(), windows).map(Some)
        };
        let range_of = |initrd: Option<(GuestRange, Constraints)>| initrd.map(|(range, _)| range);
        // The initrd keeps clear of a tree at a fixed address, so the length of the tree must be known first.
        let is_final = fixed_tree.is_none() && efi.is_none() && longest.len() == bootargs.len();
        let (tree, len, initrd) = if is_final {
            let initrd = place_initrd(0)?;
            let tree = contents.build(&bootargs, range_of(initrd), None)?;
            let len = arith::to_u64(tree.len());
            (Some(tree), len, initrd)
        } else {
            let some_initrd = request.initrd_len.map(|_| GuestRange::EMPTY);
            let some_efi = efi.as_ref().map(|_| EfiHandover::new(0, GuestRange::EMPTY));
            let len = arith::to_u64(contents.build(&longest, some_initrd, some_efi)?.len());
            (None, len, place_initrd(len)?)
        };
        check_tree_len(name, len)?;
        let windows = not_below(parameters.layout.device_tree(machine, base), lowest);
        used.extend(range_of(initrd).map(|range| (label::INITRD, range)));
        let around_efi = fixed_efi.map(|range| (label::EFI_TABLES, range));
        let around: Vec<_> = used.iter().copied().chain(around_efi).collect();
        let (dtb_range, dtb_constraints) = place_device_tree(request, ram, len, windows, &around, reserved)?;
        used.push((label::DEVICE_TREE, dtb_range));
        let mut free = allocator(ram, &used, unmappable());
        let placed_efi = efi.map(|tables| PlacedEfi::place(&tables, &mut free, windows));
        let placed_efi = placed_efi.transpose()?;
        let dtb = if let Some(tree) = tree {
            tree
        } else {
            let handover = placed_efi.as_ref().map(|placed| placed.block.handover);
            contents.build(&bootargs, range_of(initrd), handover)?
        };

        let mut builder = PlanBuilder::new(name, request, &kernel)
            .kernel_constraints(kernel_constraints)
            .additional(request, &additional)
            .bytes(label::DEVICE_TREE, dtb_range, dtb, dtb_constraints)
            .cpu(cpu(entry, dtb_range.start(), self.boot_cpu()));
        if let Some(placed) = placed_efi {
            builder = placed.add_to(builder, &described.memory);
        }
        if has_ram_below(machine, lowest) {
            builder = builder.warning(Warning::UnusableRam { below: lowest });
        }
        if let Some((range, constraints)) = initrd {
            builder = builder.file(label::INITRD, range, BootFile::Initrd, constraints);
        }
        Ok(builder.build()?)
    }
}

/// The value of `bootargs` with the greatest length: `len` bytes unless the command line is empty and has no further capacity.
fn longest_bootargs(len: usize, bootargs: &[u8]) -> Vec<u8> {
    if len == 1 && bootargs.is_empty() {
        Vec::new()
    } else {
        vec![b'x'; len]
    }
}

/// Checks the length of a device tree.
fn check_tree_len(protocol: &'static str, found: u64) -> Result<(), PlanError> {
    if found <= MAX_FDT_SIZE {
        return Ok(());
    }
    Err(PlanError::TooLarge {
        protocol,
        what: "the length of the device tree",
        found,
        max: MAX_FDT_SIZE,
    })
}

/// What is placed before anything else.
struct First {
    kernel: PlacedKernel,
    kernel_constraints: Constraints,
    /// The address where the boot CPU starts.
    entry: u64,
    /// The 2 MiB boundary that the image is relative to.
    base: u64,
    /// The lowest address that the kernel can use.
    lowest: u64,
    additional: PlacedAdditional,
}

impl Planner<'_> {
    /// The id of the boot CPU: that of the platform, or else that of the caller's tree.
    fn boot_cpu(&self) -> u64 {
        let of_tree = self.caller_tree.as_ref().map(|tree| tree.boot_cpuid_phys.into());
        boot_cpu_id(&self.request.machine.platform.cpus)
            .or(of_tree)
            .unwrap_or(0)
    }

    /// Places the kernel and the additional loads.
    fn place_first(&self, ram: &RamAllocator<'_>) -> Result<First, PlanError> {
        let Self {
            name,
            request,
            parameters,
            abi,
            reserved,
            ..
        } = self;
        let (image, machine) = (request.image, request.machine);
        let mut allocator = allocator(ram, &[], reserved.iter().map(|reserved| reserved.range));
        let kernel_constraints = parameters.layout.kernel(machine, *abi);
        let max = kernel_constraints.max;
        let kernel = place_kernel(request, parameters.layout, &mut allocator, max)?;
        let entry = kernel
            .entry(image, *abi)
            .ok_or(no_entry(name, request, parameters))?;
        let base = base(image, &kernel);
        let lowest = if is_bounded(image) { base } else { 0 };
        let unmappable = reserved.iter().map(|reserved| reserved.excluded(MAX_PAGE_SIZE));
        let mut allocator = self::allocator(ram, &kernel_ranges(&kernel), unmappable);
        if let Some(below) = GuestRange::from_bounds(0, lowest) {
            allocator.exclude_rest("memory below the kernel", below);
        }
        let additional = PlacedAdditional::place(&mut allocator, request.additional_loads)?;
        Ok(First {
            kernel,
            kernel_constraints,
            entry,
            base,
            lowest,
            additional,
        })
    }
}

/// The memory of the kernel, with its label.
fn kernel_ranges(kernel: &PlacedKernel) -> Vec<(&'static str, GuestRange)> {
    let ranges = kernel.occupied_ranges().iter();
    ranges.map(|range| ("kernel", *range)).collect()
}

/// EFI tables at their place.
struct PlacedEfi {
    range: GuestRange,
    constraints: Constraints,
    block: Block,
}

impl PlacedEfi {
    /// Places the tables in whole pages of a window.
    fn place(
        tables: &EfiTables<'_>,
        allocator: &mut RamAllocator<'_>,
        windows: [Option<Constraints>; 2],
    ) -> Result<Self, PlanError> {
        let windows = windows.map(|window| window.map(|window| window.with_align(PAGE)));
        let (range, constraints) = place(allocator, label::EFI_TABLES, tables.len(), windows)?;
        Ok(Self {
            range,
            constraints,
            block: tables.build(range),
        })
    }

    /// Adds the tables to a plan, and their memory to the map that is described to the guest.
    fn add_to(self, builder: PlanBuilder, memory: &MemoryMap) -> PlanBuilder {
        let Self {
            range,
            constraints,
            block: Block { mut bytes, .. },
        } = self;
        let mut memory = memory.clone();
        // It was allocated in RAM.
        let _unused = memory.reserve(range, RegionKind::AcpiReclaimable);
        if let Ok(len) = usize::try_from(range.len()) {
            bytes.resize(len.max(bytes.len()), 0);
        }
        let load = Load::new(range, LoadContent::Bytes(bytes), label::EFI_TABLES, constraints);
        builder
            .memory(memory)
            .load(load.in_region(RegionKind::AcpiReclaimable))
    }
}

/// Places the kernel at the address that it prefers, if possible.
fn place_kernel(
    request: &BootRequest<'_>,
    layout: &dyn Layout,
    allocator: &mut RamAllocator<'_>,
    max: u64,
) -> Result<PlacedKernel, PlacementError> {
    let image = request.image;
    match layout
        .preferred_base(request.machine, image)
        .and_then(|base| PlacedKernel::place_at(image, allocator, base, max))
    {
        Some(kernel) => Ok(kernel),
        None => PlacedKernel::place_below(image, allocator, max),
    }
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

/// What a device tree is made from.
struct TreeContents<'a> {
    protocol: &'static str,
    request: &'a BootRequest<'a>,
    caller_tree: Option<&'a DeviceTree<'a>>,
    /// With the memory map that is described to the guest.
    machine: &'a Machine,
}

impl TreeContents<'_> {
    /// Creates the tree, or updates that of the caller.
    fn build(
        &self,
        bootargs: &[u8],
        initrd: Option<GuestRange>,
        efi: Option<EfiHandover>,
    ) -> Result<Vec<u8>, PlanError> {
        let chosen = Chosen {
            bootargs,
            initrd,
            rng_seed: self.request.rng_seed,
            kaslr_seed: self.request.kaslr_seed,
            efi,
        };
        if let Some(tree) = self.caller_tree {
            return updated(tree.clone(), self.machine, &chosen)
                .map_err(|error| protocol_error(self.protocol, error));
        }
        let created = match self.machine.acpi_rsdp {
            Some(_) => create_chosen_fdt(&self.machine.platform.cpus, &chosen),
            None => create_fdt(self.machine, &chosen),
        };
        created.map_err(|error| protocol_error(self.protocol, error))
    }
}

/// Updates a tree for this boot, and serializes it.
fn updated(
    mut tree: DeviceTree<'_>,
    machine: &Machine,
    chosen: &Chosen<'_>,
) -> Result<Vec<u8>, UpdateFdtError> {
    update_fdt(&mut tree, &machine.memory, chosen)?;
    tree.to_bytes().ok_or(UpdateFdtError::TooLarge)
}

/// The memory that the machine and the tree of the caller reserve.
fn all_reserved(
    protocol: &'static str,
    machine: &Machine,
    caller_tree: Option<&DeviceTree<'_>>,
) -> Result<Vec<ReservedRange>, PlanError> {
    let of_machine = &machine.platform.reserved_memory;
    let mut reserved: Vec<ReservedRange> = of_machine.iter().map(ReservedRange::from).collect();
    if let Some(tree) = caller_tree {
        let in_tree = reserved_ranges(tree).map_err(|error| protocol_error(protocol, error))?;
        check_reserved_memory(of_machine, &in_tree).map_err(|error| protocol_error(protocol, error))?;
        reserved.extend(in_tree);
    }
    Ok(reserved)
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

/// The allocator `ram` without the `used` ranges and without the `reserved` ones, which may overlap each other and those of the
/// request's additional loads.
fn allocator<'a>(
    ram: &RamAllocator<'a>,
    used: &[(&'static str, GuestRange)],
    reserved: impl Iterator<Item = GuestRange>,
) -> RamAllocator<'a> {
    let mut allocator = ram.clone();
    for (label, range) in used {
        allocator.exclude_rest(label, *range);
    }
    for range in reserved {
        allocator.exclude_rest("reserved memory", range);
    }
    allocator
}

/// Places the device tree of `len` bytes outside of `used` and `reserved`.
fn place_device_tree(
    request: &BootRequest<'_>,
    ram: &RamAllocator<'_>,
    len: u64,
    windows: [Option<Constraints>; 2],
    used: &[(&'static str, GuestRange)],
    reserved: &[ReservedRange],
) -> Result<(GuestRange, Constraints), PlacementError> {
    let is_fixed = request
        .fixed_addresses
        .iter()
        .any(|fixed| fixed.label == label::DEVICE_TREE);
    // An alignment of at least the length keeps the tree inside one block of 2 MiB.
    let align = if is_fixed {
        8
    } else {
        len.next_power_of_two().max(8)
    };
    let windows = windows.map(|window| window.map(|constraints| constraints.with_align(align)));
    let excluded = || reserved.iter().map(|reserved| reserved.excluded(BLOCK_SIZE));
    // A block of only RAM is preferred: the kernel may have to map devices with other attributes.
    let blocks = excluded().chain(blocks_with_other_than_ram(request.machine));
    if let Ok(placed) = place(
        &mut allocator(ram, used, blocks),
        label::DEVICE_TREE,
        len,
        windows,
    ) {
        return Ok(placed);
    }
    place(
        &mut allocator(ram, used, excluded()),
        label::DEVICE_TREE,
        len,
        windows,
    )
}

/// Allocates at the highest address in the first window that has room.
fn place(
    allocator: &mut RamAllocator<'_>,
    label: &'static str,
    len: u64,
    windows: [Option<Constraints>; 2],
) -> Result<(GuestRange, Constraints), PlacementError> {
    let windows: Vec<_> = windows.into_iter().flatten().map(Constraints::highest).collect();
    let placed = allocator.allocate_piece(&Piece {
        label,
        len,
        windows: &windows,
    })?;
    Ok((placed.range, placed.constraints))
}
