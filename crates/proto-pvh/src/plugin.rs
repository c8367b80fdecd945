//! The planner: placement, start info and entry state.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use boot_core::cpu::x86_64::State;
use boot_core::placement::Piece;
use boot_core::protocol::{plan_around_fixed, validate_request};
use boot_core::{
    Arch, BootFile, BootPlan, BootProtocol, BootRequest, Constraints, EntryAbi, GuestRange,
    IncompatibleImage, KernelImage, PlacedAdditional, PlacedKernel, Placement, PlanBuilder, PlanError,
    Priority, RamAllocator, RequestPart, Support, arith,
};

use crate::label;
use crate::start_info::{Contents, NAME};
use crate::warning::Warning;

/// The PVH boot protocol, for lists of protocols.
pub const PROTOCOL: Pvh = Pvh;

/// The PVH boot protocol (Xen `docs/misc/pvh.pandoc`): starts images with an [`EntryAbi::PVH`] entry point.
///
/// Requests may have an initrd, modules and an ACPI RSDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pvh;

/// Selectors of the flat segments. The protocol does not specify them, and there is no GDT.
const CODE_SELECTOR: u16 = 0x08;
const DATA_SELECTOR: u16 = 0x10;

/// Constraints of all loads: below 4 GiB, because the guest starts in 32-bit mode without paging; above the first page, which
/// contains the BIOS data area and the address 0, which means "not present".
const CONSTRAINTS: Constraints = Constraints::below_4g(0x1000).between(0x1000, 1 << 32);

/// Constraints of initrd and modules.
const HIGHEST: Constraints = CONSTRAINTS.highest();

/// Constraints of the start info, with the memory map, the module list and its command lines in its block, and of the command
/// line: below 1 GiB, because Linux reads them through early page tables that map no more (`arch/x86/platform/pvh/head.S`).
const START_INFO: Constraints = CONSTRAINTS.between(0x1000, 1 << 30);

/// Constraints of a memory map and a module list outside that block.
const TABLE: Constraints = START_INFO.with_align(8);

/// The first page of memory, which is kept free: see [`CONSTRAINTS`]. A relocatable kernel whose note gives no minimum, or 0,
/// would otherwise be placed at address 0.
const FIRST_PAGE: GuestRange = GuestRange::from_bounds(0, 0x1000).unwrap();

/// `E820_MAX_ENTRIES_ZEROPAGE` of Linux, which copies the regions into the e820 table of a zero page without checking their
/// number.
const LINUX_MAX_REGIONS: usize = 128;

/// Length of the longest command line of Linux: `COMMAND_LINE_SIZE` without the terminating NUL.
const LINUX_MAX_CMDLINE: usize = 2047;

impl BootProtocol for Pvh {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Before the other protocols of kernels with several declared entry points: PVH is made for virtual machines.
    fn priority(&self) -> Priority {
        Priority::new(Priority::SPECIFIC.value().saturating_sub(20))
    }

    fn accepts(&self) -> &'static [RequestPart] {
        &[
            RequestPart::Initrd,
            RequestPart::Modules,
            RequestPart::AcpiRsdp,
            RequestPart::AdditionalLoads,
        ]
    }

    fn supports(&self, image: &KernelImage) -> Result<Support, IncompatibleImage> {
        if image.arch() != Arch::X86_64 {
            return Err(IncompatibleImage::Arch {
                expected: Arch::X86_64,
                found: image.arch(),
            });
        }
        match image.entry(EntryAbi::PVH) {
            Some(_) => Ok(Support::declared("it has a PVH entry note")),
            None => Err(IncompatibleImage::NoEntry {
                expected: &[EntryAbi::PVH],
            }),
        }
    }

    fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError> {
        validate_request(self, request)?;
        let files = files(request)?;
        let cmdline = request.cmdline_bytes(usize::MAX)?;
        plan_around_fixed(request, |allocator| {
            plan(request, &files, cmdline.clone(), allocator.clone())
        })
    }
}

/// Plans the boot with these files and with the RAM of `allocator`. `cmdline` is the command line with its NUL.
fn plan(
    request: &BootRequest<'_>,
    files: &[File],
    cmdline: Vec<u8>,
    mut allocator: RamAllocator<'_>,
) -> Result<BootPlan, PlanError> {
    let (image, machine) = (request.image, request.machine);
    let module_cmdlines: Vec<_> = files.iter().map(|file| file.cmdline.clone()).collect();
    if let Placement::Relocatable(_) = image.placement() {
        allocator.exclude_rest("first page", FIRST_PAGE);
    }
    let kernel = PlacedKernel::place_below(image, &mut allocator, CONSTRAINTS.max)?;
    kernel.reserve_gaps(&mut allocator)?;
    let additional = PlacedAdditional::place(&mut allocator, request.additional_loads)?;
    let contents = Contents {
        memory: additional.memory(),
        memory_map_at: allocator.fixed_address(label::MEMORY_MAP),
        module_list_at: allocator.fixed_address(label::MODULE_LIST),
        rsdp: machine.acpi_rsdp,
        module_cmdlines: &module_cmdlines,
    };
    let lengths = contents.build(0, 0, &[])?;
    let piece = |label, bytes: &[u8], windows| Piece {
        label,
        len: arith::to_u64(bytes.len()),
        windows,
    };
    let mut pieces = vec![
        piece(label::START_INFO, &lengths.block, &[START_INFO]),
        piece(label::COMMAND_LINE, &cmdline, &[START_INFO]),
        piece(label::MEMORY_MAP, &lengths.memory_map, &[TABLE]),
        piece(label::MODULE_LIST, &lengths.module_list, &[TABLE]),
    ];
    pieces.extend(files.iter().map(|file| Piece {
        label: file.label,
        len: file.len,
        windows: &[HIGHEST],
    }));
    let present: Vec<_> = pieces.iter().copied().filter(|piece| piece.len > 0).collect();
    let mut places = allocator.allocate_all(&present)?.into_iter();
    let mut ranges = pieces.iter().map(|piece| match piece.len {
        0 => None,
        _ => places.next().map(|placed| placed.range),
    });
    let mut next = || ranges.next().flatten();
    let block_range = next().unwrap_or(GuestRange::EMPTY);
    let cmdline_range = next().unwrap_or(GuestRange::EMPTY);
    let (memory_map_range, module_list_range) = (next(), next());
    let ranges: Vec<Option<GuestRange>> = ranges.collect();

    // The kernel is below 4 GiB.
    let low = |addr: u64| u32::try_from(addr).unwrap_or_default();
    let entry = kernel.entry(image, EntryAbi::PVH).unwrap_or_default();
    let mut state = State::protected_mode(low(entry), CODE_SELECTOR, DATA_SELECTOR);
    state.rbx = block_range.start();

    let structures = contents.build(block_range.start(), cmdline_range.start(), &ranges)?;
    let mut plan = PlanBuilder::new(NAME, request, &kernel)
        .additional(request, &additional)
        .bytes(label::START_INFO, block_range, structures.block, START_INFO)
        .bytes(label::COMMAND_LINE, cmdline_range, cmdline, START_INFO)
        .cpu(state);
    if let Some(range) = memory_map_range {
        plan = plan.bytes(label::MEMORY_MAP, range, structures.memory_map, TABLE);
    }
    if let Some(range) = module_list_range {
        plan = plan.bytes(label::MODULE_LIST, range, structures.module_list, TABLE);
    }
    for (file, range) in files.iter().zip(ranges) {
        if let Some(range) = range {
            plan = plan.file(file.id.to_string(), range, file.id, CONSTRAINTS);
        }
    }
    for warning in warnings(request) {
        plan = plan.warning(warning);
    }
    Ok(plan.build()?)
}

/// A file that becomes a module of the start info.
struct File {
    /// Label in placement errors.
    label: &'static str,
    id: BootFile,
    len: u64,
    cmdline: Option<Vec<u8>>,
}

/// The files of the request in the order of the module list. The initrd is first, as Linux expects.
fn files(request: &BootRequest<'_>) -> Result<Vec<File>, PlanError> {
    let initrd = request.initrd_len.map(|len| File {
        label: label::INITRD,
        id: BootFile::Initrd,
        len: len.get(),
        cmdline: None,
    });
    let mut files: Vec<_> = initrd.into_iter().collect();
    for (index, module) in request.modules.iter().enumerate() {
        files.push(File {
            label: "module",
            id: BootFile::Module(index),
            len: module.len,
            cmdline: if module.cmdline.is_empty() {
                None
            } else {
                Some(module.cmdline.to_bytes(usize::MAX)?)
            },
        });
    }
    Ok(files)
}

/// Warnings about the parts of the request that PVH allows but Linux does not support.
fn warnings(request: &BootRequest<'_>) -> impl Iterator<Item = Warning> {
    let regions = request.machine.memory.regions().len();
    let len = request.cmdline.encoded_len();
    let regions = (regions > LINUX_MAX_REGIONS).then_some(Warning::TooManyRegions {
        regions,
        max: LINUX_MAX_REGIONS,
    });
    let len = (len > LINUX_MAX_CMDLINE).then_some(Warning::CmdlineTruncated {
        len,
        max: LINUX_MAX_CMDLINE,
    });
    let is_module_first = request.initrd_len.is_none() && !request.modules.is_empty();
    let module = is_module_first.then_some(Warning::ModuleAsInitrd);
    regions.into_iter().chain(len).chain(module)
}
