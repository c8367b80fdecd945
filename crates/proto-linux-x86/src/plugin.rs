//! The planner: entry point, placement and entry state.

use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use boot_core::cpu::x86_64::{AccessRights, DescriptorTable, SegmentRegister, State};
use boot_core::placement::{Piece, PlacedPiece};
use boot_core::protocol::{plan_around_fixed, validate_request};
use boot_core::{
    Arch, BootFile, BootPlan, BootProtocol, BootRequest, Constraints, EntryAbi, GuestRange,
    IncompatibleImage, KernelImage, MemoryMap, PlacedAdditional, PlacedKernel, PlanBuilder, PlanError,
    Priority, RamAllocator, RegionKind, RequestPart, Support, arith,
};
use boot_linux::vmlinux::Evidence;
use boot_linux::x86::{BootParams, Relocated, SetupHeaderMetadata, loadflags, xloadflags};
use zerocopy::IntoBytes;

use crate::error::NAME;
use crate::label;
use crate::page_tables::{self, IdentityMap};
use crate::setup_data::SetupDataList;
use crate::zero_page::{BootAddresses, E820, elf_setup_header, zero_page};

/// The Linux x86 boot protocol with [`EntryChoice::Auto`], for lists of protocols.
pub const PROTOCOL: LinuxX86 = LinuxX86::new();

/// The Linux x86 boot protocol (Linux `Documentation/arch/x86/boot.rst`).
///
/// Requests may have an initrd, an ACPI RSDP, additional loads and, for kernels of boot protocol 2.09 and later, at most 4080
/// random bytes for the entropy pool. There is no way to hand over a random number for KASLR. `plan` returns
/// [`LinuxX86Error`](crate::LinuxX86Error) as the source of [`PlanError::Protocol`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LinuxX86 {
    /// Choice of the kernel's entry point.
    pub entry: EntryChoice,
}

impl LinuxX86 {
    /// The protocol with [`EntryChoice::Auto`], as [`PROTOCOL`].
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entry: EntryChoice::Auto,
        }
    }

    /// Sets the choice of the entry point.
    #[must_use]
    pub const fn with_entry(mut self, entry: EntryChoice) -> Self {
        self.entry = entry;
        self
    }
}

/// Choice of the entry point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryChoice {
    /// The 64-bit entry point if the kernel has a usable one, else the 32-bit entry point.
    #[default]
    Auto,
    /// Only the 64-bit entry point: [`EntryAbi::LINUX_X86_64`] or [`EntryAbi::ELF64`].
    Only64Bit,
    /// Only the 32-bit entry point: [`EntryAbi::LINUX_X86_32`] or [`EntryAbi::ELF32`].
    Only32Bit,
}

impl EntryChoice {
    /// The entry points allowed, in order of preference.
    const fn abis(self) -> &'static [EntryAbi] {
        const ALL: [EntryAbi; 4] = [
            EntryAbi::LINUX_X86_64,
            EntryAbi::ELF64,
            EntryAbi::LINUX_X86_32,
            EntryAbi::ELF32,
        ];
        match self {
            Self::Auto => &ALL,
            Self::Only64Bit => ALL.split_at(2).0,
            Self::Only32Bit => ALL.split_at(2).1,
        }
    }
}

/// `__BOOT_CS` (boot.rst).
const BOOT_CS: u16 = 0x10;
/// `__BOOT_DS` (boot.rst).
const BOOT_DS: u16 = 0x18;

/// End of the 32-bit address space.
const FOUR_GIB: u64 = 1 << 32;

/// Lowest address of a load. The first page contains the BIOS data area, and an address of 0 means "none".
const MIN: u64 = 0x1000;

/// Constraints of all loads except kernel and initrd. Kernels without `XLF_CAN_BE_LOADED_ABOVE_4G` need them below
/// 4 GiB even at the 64-bit entry point.
const LOW: Constraints = Constraints::aligned(0x1000).between(MIN, FOUR_GIB);

/// Constraints of a GDT whose address the request fixes: any multiple of 8 after the BIOS data area. Nothing but the CPU reads
/// the table. Otherwise it is placed as [`LOW`].
const FIXED_GDT: Constraints = Constraints::aligned(8).between(0x500, FOUR_GIB);

/// The entry point that a kernel is started at.
struct SelectedEntry {
    abi: EntryAbi,
    long_mode: bool,
    header: SetupHeaderMetadata,
}

impl SelectedEntry {
    fn new(choice: EntryChoice, image: &KernelImage) -> Result<Self, IncompatibleImage> {
        if image.arch() != Arch::X86_64 {
            return Err(IncompatibleImage::Arch {
                expected: Arch::X86_64,
                found: image.arch(),
            });
        }
        let mut refused = IncompatibleImage::NoEntry {
            expected: choice.abis(),
        };
        for abi in choice.abis().iter().filter(|abi| image.entry(**abi).is_some()) {
            match Self::with_abi(*abi, image) {
                Ok(entry) => return Ok(entry),
                Err(reason) => refused = reason,
            }
        }
        Err(refused)
    }

    fn with_abi(abi: EntryAbi, image: &KernelImage) -> Result<Self, IncompatibleImage> {
        let long_mode = matches!(abi, EntryAbi::LINUX_X86_64 | EntryAbi::ELF64);
        let header = match (abi, image.metadata::<SetupHeaderMetadata>()) {
            (EntryAbi::ELF64 | EntryAbi::ELF32, _) => elf_setup_header(image, long_mode),
            (_, None) => {
                return Err(IncompatibleImage::Header(
                    "it has a Linux entry point but no setup header",
                ));
            }
            (_, Some(header)) => *header,
        };
        if !header.has_cmd_line_ptr() {
            return Err(IncompatibleImage::Header(
                "its setup header has no cmd_line_ptr, which boot protocol 2.02 introduced",
            ));
        }
        if long_mode && header.xloadflags() & xloadflags::KERNEL_64 == 0 {
            return Err(IncompatibleImage::Header(
                "it has no 64-bit entry point: XLF_KERNEL_64 in xloadflags is clear",
            ));
        }
        Ok(Self {
            abi,
            long_mode,
            header,
        })
    }

    /// How well the protocol suits the image.
    fn support(&self, image: &KernelImage) -> Support {
        if !matches!(self.abi, EntryAbi::ELF64 | EntryAbi::ELF32) {
            return Support::declared("it has a Linux setup header");
        }
        match image.metadata::<Evidence>() {
            Some(evidence @ Evidence::Linux(_)) => Support::indicated(evidence.reason()),
            Some(evidence) => Support::contradicted(evidence.reason()),
            None => Support::possible("it has an ELF entry point and no mark of a Linux kernel"),
        }
    }

    /// Whether kernel and initrd may be above 4 GiB.
    fn can_be_above_4g(&self) -> bool {
        self.long_mode && self.header.xloadflags() & xloadflags::CAN_BE_LOADED_ABOVE_4G != 0
    }

    /// End of the addresses where the kernel can run. An ELF file runs at its link address, which may be any.
    fn kernel_max(&self) -> u64 {
        if self.can_be_above_4g() || self.abi == EntryAbi::ELF64 {
            page_tables::MAX_ADDRESS
        } else {
            FOUR_GIB
        }
    }

    /// The windows for the initrd: up to the address that `initrd_addr_max` allows. If the kernel can be above 4 GiB, so can
    /// the initrd: then also below 4 GiB, or else in all RAM.
    fn initrd_windows(&self) -> Vec<Constraints> {
        let window = |max| LOW.between(MIN, max).highest();
        let mut windows = vec![window(self.header.initrd_addr_max().saturating_add(1))];
        if self.can_be_above_4g() {
            windows.extend([window(FOUR_GIB), window(page_tables::MAX_ADDRESS)]);
        }
        windows
    }
}

impl BootProtocol for LinuxX86 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn priority(&self) -> Priority {
        Priority::SPECIFIC
    }

    fn accepts(&self) -> &'static [RequestPart] {
        &[
            RequestPart::Initrd,
            RequestPart::AcpiRsdp,
            RequestPart::AdditionalLoads,
            RequestPart::RngSeed,
        ]
    }

    /// The random bytes are in a `setup_data` node, which boot protocol 2.09 introduced.
    fn hands_over(&self, part: RequestPart, image: &KernelImage) -> bool {
        self.accepts().contains(&part)
            && (part != RequestPart::RngSeed
                || SelectedEntry::new(self.entry, image).is_ok_and(|entry| entry.header.has_setup_data()))
    }

    /// An ELF file has [`SupportLevel::Indicated`](boot_core::SupportLevel::Indicated) or less, by its [`Evidence`]: its
    /// entry point has no calling convention of its own.
    fn supports(&self, image: &KernelImage) -> Result<Support, IncompatibleImage> {
        Ok(SelectedEntry::new(self.entry, image)?.support(image))
    }

    fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError> {
        validate_request(self, request)?;
        let image = request.image;
        let selected = SelectedEntry::new(self.entry, image).map_err(|reason| PlanError::Incompatible {
            protocol: NAME,
            format: image.format(),
            reason,
        })?;
        let header = &selected.header;
        let cmdline_size = usize::try_from(header.cmdline_size()).unwrap_or(usize::MAX);
        let cmdline = request.cmdline_bytes(cmdline_size)?;
        plan_around_fixed(request, |allocator| {
            plan(request, &selected, cmdline.clone(), allocator.clone())
        })
    }
}

/// Plans the boot of the selected entry point with the RAM of `allocator`. `cmdline` is the command line with its NUL.
fn plan(
    request: &BootRequest<'_>,
    selected: &SelectedEntry,
    cmdline: Vec<u8>,
    mut allocator: RamAllocator<'_>,
) -> Result<BootPlan, PlanError> {
    let (image, machine) = (request.image, request.machine);
    let header = &selected.header;
    let kernel = PlacedKernel::place_below(image, &mut allocator, selected.kernel_max())?;
    kernel.reserve_gaps(&mut allocator)?;
    let additional = PlacedAdditional::place(&mut allocator, request.additional_loads)?;
    let memory = additional.memory();
    let e820 = E820::new(memory, header)?;
    let gdt = gdt(selected.long_mode);
    let mut nodes = SetupDataList::default();
    e820.push_nodes(&mut nodes);
    if let Some(seed) = request.rng_seed {
        nodes.push_rng_seed(seed)?;
    }
    let mapped: Vec<_> = [kernel.extent()]
        .into_iter()
        .chain(firmware_ranges(memory, machine.acpi_rsdp))
        .collect();
    let Pieces {
        zero_page: zero_page_at,
        gdt: gdt_at,
        cmdline: cmdline_at,
        setup_data: nodes_at,
        initrd,
        tables,
    } = place(
        &mut allocator,
        selected,
        &mapped,
        &Lengths {
            gdt: arith::to_u64(gdt.len()),
            cmdline: arith::to_u64(cmdline.len()),
            setup_data: nodes.size(),
            initrd: request.initrd_len.map_or(0, NonZeroU64::get),
        },
    )?;
    let initrd_at = initrd.map(|placed| placed.range);

    let addresses = BootAddresses {
        code: kernel
            .segments()
            .first()
            .map_or(kernel.base(), |segment| segment.range.start()),
        cmdline: cmdline_at.start(),
        initrd: initrd_at,
        setup_data: nodes_at.map_or(0, GuestRange::start),
        rsdp: machine.acpi_rsdp.unwrap_or(0),
    };
    let mut page = zero_page(header, memory, &e820, &addresses);
    if image.metadata::<Relocated>().is_some() {
        page.hdr.loadflags |= loadflags::KASLR_FLAG;
    }
    let entry = kernel.entry(image, selected.abi).unwrap_or_default();
    let mut state = match &tables {
        Some((at, _)) => State::long_mode(entry, at.start(), BOOT_CS, BOOT_DS),
        // The kernel is below 4 GiB here.
        None => State::protected_mode(u32::try_from(entry).unwrap_or_default(), BOOT_CS, BOOT_DS),
    };
    state.rsi = zero_page_at.start();
    // Four descriptors.
    let gdt_limit = u16::try_from(gdt.len().saturating_sub(1)).unwrap_or_default();
    state.gdtr = DescriptorTable::new(gdt_at.range.start(), gdt_limit);

    let mut plan = PlanBuilder::new(NAME, request, &kernel)
        .additional(request, &additional)
        .bytes(label::ZERO_PAGE, zero_page_at, page.as_bytes().to_vec(), LOW)
        .bytes(label::GDT, gdt_at.range, gdt, gdt_at.constraints)
        .bytes(label::COMMAND_LINE, cmdline_at, cmdline, LOW)
        .cpu(state);
    if let Some(at) = nodes_at {
        plan = plan.bytes(label::SETUP_DATA, at, nodes.build(at.start()), LOW);
    }
    if let Some((at, tables)) = tables {
        plan = plan.bytes(label::PAGE_TABLES, at, tables, LOW);
    }
    if let Some(placed) = initrd {
        plan = plan.file(label::INITRD, placed.range, BootFile::Initrd, placed.constraints);
    }
    Ok(plan.build()?)
}

/// The GDT of boot.rst: two null descriptors, [`BOOT_CS`] and [`BOOT_DS`].
fn gdt(long_mode: bool) -> Vec<u8> {
    let code = if long_mode {
        AccessRights::CODE64
    } else {
        AccessRights::CODE32
    };
    let code = SegmentRegister::flat(BOOT_CS, code).descriptor();
    let data = SegmentRegister::flat(BOOT_DS, AccessRights::DATA32).descriptor();
    [0, 0, code, data]
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect()
}

/// Lengths of the pieces in bytes; zero without the piece.
struct Lengths {
    gdt: u64,
    cmdline: u64,
    setup_data: u64,
    initrd: u64,
}

/// Places of the pieces.
struct Pieces {
    zero_page: GuestRange,
    gdt: PlacedPiece,
    cmdline: GuestRange,
    setup_data: Option<GuestRange>,
    initrd: Option<PlacedPiece>,
    /// With the content of the page tables.
    tables: Option<(GuestRange, Vec<u8>)>,
}

/// Places all pieces, and builds page tables that map `mapped` and the initrd.
///
/// `mapped` contains the first 4 GiB, with all other pieces. An initrd above needs more tables: the length grows until it is
/// sufficient.
fn place(
    allocator: &mut RamAllocator<'_>,
    selected: &SelectedEntry,
    mapped: &[GuestRange],
    lengths: &Lengths,
) -> Result<Pieces, PlanError> {
    let initrd_windows = selected.initrd_windows();
    let low = |label, len| Piece {
        label,
        len,
        windows: &[LOW],
    };
    let zero_page_len = arith::to_u64(size_of::<BootParams>());
    let mut tables_len = if selected.long_mode {
        IdentityMap::new(mapped.iter().copied())?.size()
    } else {
        0
    };
    let gdt_window = match allocator.fixed_address(label::GDT) {
        Some(_) => FIXED_GDT,
        None => LOW,
    };
    loop {
        let mut attempt = allocator.clone();
        let pieces = [
            low(label::ZERO_PAGE, zero_page_len),
            Piece {
                label: label::GDT,
                len: lengths.gdt,
                windows: &[gdt_window],
            },
            low(label::COMMAND_LINE, lengths.cmdline),
            low(label::SETUP_DATA, lengths.setup_data),
            Piece {
                label: label::INITRD,
                len: lengths.initrd,
                windows: &initrd_windows,
            },
            low(label::PAGE_TABLES, tables_len),
        ];
        let present: Vec<_> = pieces.into_iter().filter(|piece| piece.len > 0).collect();
        let placed = attempt.allocate_all(&present)?;
        let at = |label| {
            let mut found = present.iter().zip(&placed);
            found
                .find(|(piece, _)| piece.label == label)
                .map(|(_, placed)| *placed)
        };
        let range = |label| at(label).map(|placed| placed.range);
        let tables = match range(label::PAGE_TABLES) {
            None => None,
            Some(tables_at) => {
                let map = IdentityMap::new(mapped.iter().copied().chain(range(label::INITRD)))?;
                if map.size() > tables_len {
                    tables_len = map.size();
                    continue;
                }
                Some((tables_at, map.build(tables_at.start())))
            }
        };
        *allocator = attempt;
        return Ok(Pieces {
            zero_page: range(label::ZERO_PAGE).unwrap_or(GuestRange::EMPTY),
            gdt: at(label::GDT).unwrap_or(PlacedPiece {
                range: GuestRange::EMPTY,
                constraints: LOW,
            }),
            cmdline: range(label::COMMAND_LINE).unwrap_or(GuestRange::EMPTY),
            setup_data: range(label::SETUP_DATA),
            initrd: at(label::INITRD),
            tables,
        });
    }
}

/// The ranges that a kernel may read before it can handle a page fault, apart from kernel and initrd: the first 4 GiB, which
/// contain all other structures of the protocol and the page tables, the RSDP, and the regions with ACPI tables.
///
/// Linux 5.1 to 5.9 with KASLR looks for the memory ranges to avoid in the ACPI SRAT, before it has a page fault handler.
fn firmware_ranges(memory: &MemoryMap, rsdp: Option<u64>) -> impl Iterator<Item = GuestRange> + Clone + '_ {
    /// Length of the RSDP since ACPI 2.0.
    const RSDP_LEN: u64 = 36;
    let low = GuestRange::from_bounds(0, FOUR_GIB);
    let rsdp = rsdp.and_then(|addr| GuestRange::new(addr, RSDP_LEN));
    let tables = memory
        .regions()
        .iter()
        .filter(|region| matches!(region.kind, RegionKind::AcpiReclaimable | RegionKind::AcpiNvs))
        .map(|region| region.range);
    low.into_iter().chain(rsdp).chain(tables)
}
