//! The boot: where everything goes, and the entry state.
//!
//! The plan has the addresses of Firecracker. What Firecracker does in another way than the boot protocols of this workspace
//! (GDT, zero page, registers without a meaning in the protocol) is replaced in the plan's result: a VMM whose guests must not
//! notice a change of the loader does the same.

use std::error::Error;

use boot_core::cpu::x86_64::{AccessRights, DescriptorTable, SegmentRegister, State, cr0};
use boot_core::{
    AdditionalLoad, Arch, BootPlan, BootProtocol, BootRequest, Cmdline, EntryAbi, FixedAddress, GuestMemory,
    GuestRange, KernelImage, Load, Machine, MemoryMap, MemoryMapError, RegionKind, Sources,
};
use boot_linux::x86::{BootParams, E820Entry, LOADER_UNDEFINED};
use proto_linux_x86::label as linux;
use proto_pvh::label as pvh;
use zerocopy::{FromZeros as _, IntoBytes as _};

use crate::{acpi, layout};

/// The boot protocols of Firecracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The Linux boot protocol, at the ELF entry point.
    Linux,
    /// PVH.
    Pvh,
}

impl Protocol {
    /// PVH for kernels that have an entry point for it, otherwise Linux.
    #[must_use]
    pub fn of(image: &KernelImage) -> Self {
        if image.entry(EntryAbi::PVH).is_some() {
            Self::Pvh
        } else {
            Self::Linux
        }
    }

    /// `CS`, the data segments and `TR`: entries 1 to 3 of the GDT.
    fn segments(self) -> [SegmentRegister; 3] {
        let flat = SegmentRegister::flat;
        let data = flat(0x10, AccessRights::DATA32);
        match self {
            Self::Linux => [
                flat(0x8, AccessRights::CODE64),
                data,
                flat(0x18, AccessRights::from_bits(0x808b)),
            ],
            Self::Pvh => [
                flat(0x8, AccessRights::CODE32),
                data,
                SegmentRegister::new(0x18, 0, 0x67, AccessRights::TSS32_BUSY),
            ],
        }
    }

    fn gdt(self) -> Vec<u8> {
        let [code, data, task] = self.segments().map(|segment| segment.descriptor());
        [0, code, data, task]
            .iter()
            .flat_map(|entry| entry.to_le_bytes())
            .collect()
    }
}

/// The memory map of a machine with `len` bytes of RAM.
///
/// The addresses from [`layout::RSDP`] to [`layout::HIGH_RAM`] are in no region, although there is memory.
///
/// # Errors
///
/// [`MemoryMapError`] for less than 1 MiB, or more than fits the address space.
pub fn memory_map(len: u64) -> Result<MemoryMap, MemoryMapError> {
    let mut map = MemoryMap::new();
    let high_end = len.min(layout::DEVICE_HOLE);
    for (start, end, kind) in [
        (0, layout::SYSTEM_DATA, RegionKind::Ram),
        (layout::SYSTEM_DATA, layout::RSDP, RegionKind::Reserved),
        (layout::HIGH_RAM, high_end, RegionKind::Ram),
    ] {
        map.insert(
            GuestRange::from_bounds(start, end).unwrap_or(GuestRange::EMPTY),
            kind,
        )?;
    }
    if len > high_end {
        let rest = GuestRange::new(layout::DEVICE_HOLE_END, len - high_end);
        map.insert(rest.ok_or(MemoryMapError::TooLarge { len })?, RegionKind::Ram)?;
    }
    Ok(map)
}

/// A planned boot.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The plan.
    pub plan: BootPlan,
    /// The registers of the boot CPU.
    pub state: State,
    /// Bytes that replace loads of the plan, or are at addresses that the memory map of the guest does not list.
    own: Vec<(u64, Vec<u8>)>,
}

impl Boot {
    /// Plans the boot of `image` on a machine with `memory` bytes of RAM.
    ///
    /// # Errors
    ///
    /// [`MemoryMapError`] and [`PlanError`](boot_core::PlanError).
    pub fn plan(
        image: &KernelImage,
        protocol: Protocol,
        memory: u64,
        cmdline: &Cmdline,
        initrd_len: u64,
    ) -> Result<Self, Box<dyn Error>> {
        let mut machine = Machine::new(Arch::X86_64, memory_map(memory)?);
        machine.acpi_rsdp = Some(layout::RSDP);
        let (tables, rsdp) = acpi::tables(layout::SYSTEM_DATA);
        let gdt = protocol.gdt();
        let mut loads = vec![
            AdditionalLoad::bytes("ACPI tables", &tables)
                .at(layout::SYSTEM_DATA)
                .in_region(RegionKind::Reserved),
            AdditionalLoad::bytes("IDT", &[0; 8]).at(layout::IDT),
        ];
        let mut addresses = Vec::new();
        let mut fix = |label, addr| addresses.push(FixedAddress::new(label, addr));
        let planner: &dyn BootProtocol = match protocol {
            Protocol::Linux => {
                fix(linux::ZERO_PAGE, layout::ZERO_PAGE);
                fix(linux::GDT, layout::GDT);
                fix(linux::PAGE_TABLES, layout::PAGE_TABLES);
                fix(linux::COMMAND_LINE, layout::COMMAND_LINE);
                &proto_linux_x86::PROTOCOL
            }
            Protocol::Pvh => {
                fix(pvh::START_INFO, layout::PVH_INFO);
                fix(pvh::MEMORY_MAP, layout::PVH_MEMORY_MAP);
                if initrd_len > 0 {
                    fix(pvh::MODULE_LIST, layout::PVH_MODULES);
                }
                fix(pvh::COMMAND_LINE, layout::COMMAND_LINE);
                // The protocol has none.
                loads.push(AdditionalLoad::bytes("GDT", &gdt).at(layout::GDT));
                &proto_pvh::PROTOCOL
            }
        };
        let request = BootRequest::new(image, &machine, cmdline)
            .with_initrd(initrd_len)
            .with_fixed_addresses(&addresses)
            .with_additional_loads(&loads);
        let plan = planner.plan(&request)?;
        let state = entry_state(protocol, plan.boot_cpu().x86_64()?);
        let mut own = vec![(layout::RSDP, rsdp)];
        if protocol == Protocol::Linux {
            own.push((layout::ZERO_PAGE, zero_page(&plan).as_bytes().to_vec()));
            own.push((layout::GDT, gdt));
        }
        Ok(Self { plan, state, own })
    }

    /// Loads everything.
    ///
    /// # Errors
    ///
    /// [`LoadError`](boot_core::LoadError) and [`MemoryError`](boot_core::MemoryError).
    pub fn load(&self, sources: &Sources<'_>, memory: &mut dyn GuestMemory) -> Result<(), Box<dyn Error>> {
        let is_replaced = |load: &Load| self.own.iter().any(|(addr, _)| *addr == load.range.start());
        self.plan.load_if(sources, memory, |load| !is_replaced(load))?;
        for (addr, bytes) in &self.own {
            memory.write(*addr, bytes)?;
        }
        Ok(())
    }
}

/// The registers of a plan, and those that Firecracker sets beyond the protocol.
fn entry_state(protocol: Protocol, planned: &State) -> State {
    let mut state = *planned;
    let [code, data, task] = protocol.segments();
    state.cs = code;
    (state.ds, state.es, state.fs, state.gs, state.ss) = (data, data, data, data, data);
    state.tr = task;
    state.gdtr = DescriptorTable::new(layout::GDT, 31);
    state.idtr = DescriptorTable::new(layout::IDT, 7);
    if protocol == Protocol::Linux {
        (state.rsp, state.rbp) = (layout::STACK_POINTER, layout::STACK_POINTER);
        // Firecracker sets bits of the value after reset; KVM ignores these two.
        state.cr0 |= cr0::CD | cr0::NW;
    }
    state
}

/// The zero page of Firecracker: a setup header of six fields for every kernel.
fn zero_page(plan: &BootPlan) -> BootParams {
    let range = |label: &str| {
        let load = plan.loads().iter().find(|load| load.label == label);
        load.map_or(GuestRange::EMPTY, |load| load.range)
    };
    // All of these are below 4 GiB.
    let low = |value: u64| u32::try_from(value).unwrap_or_default().into();
    let mut page = BootParams::new_zeroed();
    page.acpi_rsdp_addr = layout::RSDP.into();
    page.hdr.type_of_loader = LOADER_UNDEFINED;
    page.hdr.boot_flag = 0xaa55.into();
    page.hdr.header = *b"HdrS";
    page.hdr.kernel_alignment = 0x100_0000.into();
    let cmdline = range(linux::COMMAND_LINE);
    page.hdr.cmd_line_ptr = low(cmdline.start());
    page.hdr.cmdline_size = low(cmdline.len());
    let initrd = range(linux::INITRD);
    page.hdr.ramdisk_image = low(initrd.start());
    page.hdr.ramdisk_size = low(initrd.len());
    for (entry, region) in page.e820_table.iter_mut().zip(plan.memory().regions()) {
        *entry = E820Entry {
            addr: region.range.start().into(),
            size: region.range.len().into(),
            kind: region.kind.e820_type().into(),
        };
        page.e820_entries += 1;
    }
    page
}
