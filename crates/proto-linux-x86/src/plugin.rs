//! The planner: entry point, placement and entry state.

use alloc::vec::Vec;

use boot_core::cpu::x86_64::{AccessRights, DescriptorTable, SegmentRegister, State};
use boot_core::protocol::validate_request;
use boot_core::{
    Arch, BootFile, BootPlan, BootProtocol, BootRequest, Constraints, EntryAbi, GuestRange,
    IncompatibleImage, KernelImage, PlacedKernel, PlacementError, PlanBuilder, PlanError, Priority,
    RamAllocator, RequestPart, Support,
};
use boot_linux::vmlinux::Evidence;
use boot_linux::x86::{BootParams, SetupHeaderMetadata, xloadflags};
use zerocopy::IntoBytes;

use crate::error::NAME;
use crate::page_tables::{self, IdentityMap};
use crate::zero_page::{BootAddresses, E820, header_for_elf, zero_page};

/// The Linux x86 boot protocol with [`EntryChoice::Auto`], for lists of protocols.
pub const PROTOCOL: LinuxX86 = LinuxX86::new();

/// The Linux x86 boot protocol (Linux `Documentation/arch/x86/boot.rst`).
///
/// Requests may have an initrd and an ACPI RSDP. `plan` returns [`LinuxX86Error`](crate::LinuxX86Error) as the source of
/// [`PlanError::Protocol`].
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
            (EntryAbi::ELF64 | EntryAbi::ELF32, _) => header_for_elf(image, long_mode),
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

    /// Allocates the initrd at the highest address that `initrd_addr_max` allows. If there is no room and the kernel can
    /// be above 4 GiB, so can the initrd: then at the highest address below 4 GiB, or else of all RAM.
    fn place_initrd(
        &self,
        allocator: &mut RamAllocator<'_>,
        len: u64,
    ) -> Result<(GuestRange, Constraints), PlacementError> {
        let max = self.header.initrd_addr_max().saturating_add(1);
        let place = |allocator: &mut RamAllocator<'_>, max| {
            let constraints = LOW.between(MIN, max).highest();
            let range = allocator.allocate("initrd", len, &constraints)?;
            Ok((range, constraints))
        };
        match place(allocator, max) {
            Err(_) if self.can_be_above_4g() => {
                place(allocator, FOUR_GIB).or_else(|_| place(allocator, page_tables::MAX_ADDRESS))
            }
            placed => placed,
        }
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
        &[RequestPart::Initrd, RequestPart::AcpiRsdp]
    }

    /// An ELF file has [`SupportLevel::Indicated`](boot_core::SupportLevel::Indicated) or less, by its [`Evidence`]: its
    /// entry point has no calling convention of its own.
    fn supports(&self, image: &KernelImage) -> Result<Support, IncompatibleImage> {
        Ok(SelectedEntry::new(self.entry, image)?.support(image))
    }

    fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError> {
        validate_request(self, request)?;
        let (image, machine) = (request.image, request.machine);
        let selected = SelectedEntry::new(self.entry, image).map_err(|reason| PlanError::Incompatible {
            protocol: NAME,
            format: image.format(),
            reason,
        })?;
        let header = &selected.header;
        let cmdline = request
            .cmdline
            .to_bytes(usize::try_from(header.cmdline_size()).unwrap_or(usize::MAX))?;
        let e820 = E820::new(&machine.memory, header)?;

        let mut allocator = RamAllocator::new(&machine.memory);
        let kernel = PlacedKernel::place_below(image, &mut allocator, selected.kernel_max())?;
        kernel.reserve_gaps(&mut allocator)?;
        let zero_page_at = low(&mut allocator, "zero page", size_of::<BootParams>())?;
        let gdt = gdt(selected.long_mode);
        let gdt_at = low(&mut allocator, "GDT", gdt.len())?;
        let cmdline_at = low(&mut allocator, "command line", cmdline.len())?;
        let nodes_at = match e820.nodes_len() {
            0 => None,
            len => Some(allocator.allocate("setup data", len, &LOW)?),
        };
        let initrd = match request.initrd_len {
            None => None,
            Some(len) => Some(selected.place_initrd(&mut allocator, len.get())?),
        };
        let initrd_at = initrd.map(|(range, _)| range);
        let tables = if selected.long_mode {
            let mapped = [kernel.extent(), zero_page_at, gdt_at, cmdline_at];
            let mapped = mapped.into_iter().chain(nodes_at).chain(initrd_at);
            Some(place_tables(&mut allocator, &mapped)?)
        } else {
            None
        };

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
        let page = zero_page(header, &machine.memory, &e820, &addresses);
        let entry = kernel.entry(image, selected.abi).unwrap_or_default();
        let mut state = match &tables {
            Some((at, _)) => State::long_mode(entry, at.start(), BOOT_CS, BOOT_DS),
            // The kernel is below 4 GiB here.
            None => State::protected_mode(u32::try_from(entry).unwrap_or_default(), BOOT_CS, BOOT_DS),
        };
        state.rsi = zero_page_at.start();
        // Four descriptors.
        let gdt_limit = u16::try_from(gdt.len().saturating_sub(1)).unwrap_or_default();
        state.gdtr = DescriptorTable::new(gdt_at.start(), gdt_limit);

        let mut plan = PlanBuilder::new(NAME, request, &kernel)
            .bytes("zero page", zero_page_at, page.as_bytes().to_vec(), LOW)
            .bytes("GDT", gdt_at, gdt, LOW)
            .bytes("command line", cmdline_at, cmdline, LOW)
            .cpu(state);
        if let Some(at) = nodes_at {
            plan = plan.bytes("setup data", at, e820.nodes(at.start()), LOW);
        }
        if let Some((at, tables)) = tables {
            plan = plan.bytes("page tables", at, tables, LOW);
        }
        if let Some((at, constraints)) = initrd {
            plan = plan.file("initrd", at, BootFile::Initrd, constraints);
        }
        Ok(plan.build()?)
    }
}

/// Allocates the lowest free address, usually below 640 KiB.
fn low(
    allocator: &mut RamAllocator<'_>,
    label: &'static str,
    len: usize,
) -> Result<GuestRange, PlacementError> {
    allocator.allocate(label, boot_core::arith::to_u64(len), &LOW)
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

/// Allocates and builds page tables that map `mapped` and themselves.
///
/// Since the tables map themselves, their number depends on their address, and their address on their number. The first
/// attempt allocates only the tables that map `mapped`; the length grows until it is sufficient. The tables are below 4 GiB,
/// so mapping them needs at most two more page directories and one more PDPT.
fn place_tables(
    allocator: &mut RamAllocator<'_>,
    mapped: &(impl Iterator<Item = GuestRange> + Clone),
) -> Result<(GuestRange, Vec<u8>), PlanError> {
    let mut len = IdentityMap::new(mapped.clone())?.len();
    loop {
        let mut attempt = allocator.clone();
        let at = attempt.allocate("page tables", len, &LOW)?;
        let map = IdentityMap::new(mapped.clone().chain([at]))?;
        if map.len() <= len {
            *allocator = attempt;
            return Ok((at, map.build(at.start())));
        }
        len = map.len();
    }
}
