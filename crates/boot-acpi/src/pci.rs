//! The PCI host of an arm64 or riscv64 machine: MCFG, IORT, and its devices in the DSDT.

use alloc::vec;
use alloc::vec::Vec;

use acpi_tables::Aml;
use acpi_tables::aml::{AddressSpace, Device, EISAName, Name, Package, PackageBuilder, Path};
use acpi_tables::mcfg::MCFG;
use boot_core::Machine;
use boot_core::machine::{InterruptController, PciHost, PciSpace, PciWindow};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{Immutable, IntoBytes};

use crate::error::AcpiError;
use crate::gsi::Gsi;
use crate::oem::{OEM_ID, OEM_REVISION, OEM_TABLE_ID, bytes, table};
use crate::resources::{Registers, Resources};

/// Configuration space of a bus.
const BUS_LEN: u64 = 1 << 20;

/// Number of slots of a bus.
const SLOTS: u32 = 32;

/// The number of the last bus.
fn last_bus(host: &PciHost) -> Result<u8, AcpiError> {
    let buses = host.ecam.len() / BUS_LEN;
    let last = buses.checked_sub(1).and_then(|last| u8::try_from(last).ok());
    let is_whole = host.ecam.len().is_multiple_of(BUS_LEN);
    last.filter(|_| is_whole)
        .ok_or(AcpiError::Ecam { range: host.ecam })
}

/// The MCFG (PCI Firmware Specification 3.3, section 4.1.2): the configuration space of all buses.
pub(crate) fn mcfg(host: &PciHost) -> Result<Vec<u8>, AcpiError> {
    let mut mcfg = MCFG::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    mcfg.add_ecam(host.ecam.start(), 0, 0, last_bus(host)?);
    Ok(bytes(&mcfg))
}

/// The host, and a device that its configuration space belongs to (PCI Firmware Specification 3.3, section 4.1.2).
pub(crate) fn devices(machine: &Machine, host: &PciHost) -> Result<Vec<u8>, AcpiError> {
    let buses = AddressSpace::new_bus_number(0_u16, last_bus(host)?.into());
    let windows: Vec<Window> = host.windows.iter().map(Window::new).collect::<Result<_, _>>()?;
    let mut resources: Vec<&dyn Aml> = vec![&buses];
    for window in &windows {
        resources.push(window);
    }
    let resources = Resources(resources);
    let (express, pci) = (EISAName::new("PNP0A08"), EISAName::new("PNP0A03"));
    let hid = Name::new("_HID".into(), &express);
    let cid = Name::new("_CID".into(), &pci);
    let [uid, segment, bus] = ["_UID", "_SEG", "_BBN"].map(|name| Name::new(name.into(), &0_u8));
    let coherent = Name::new("_CCA".into(), &1_u8);
    let crs = Name::new("_CRS".into(), &resources);
    let mut objects: Vec<&dyn Aml> = vec![&hid, &cid, &uid, &segment, &bus, &coherent, &crs];
    let routing = match &host.intx {
        Some(_) => Some(routing(machine, host)?),
        None => None,
    };
    let routing = routing.as_ref().map(|routing| Name::new("_PRT".into(), routing));
    if let Some(routing) = &routing {
        objects.push(routing);
    }
    let mut code = bytes(&Device::new(Path::new("_SB_.PCI0"), objects));
    let registers = Registers::new("PCI configuration space", host.ecam)?;
    let motherboard = EISAName::new("PNP0C02");
    let hid = Name::new("_HID".into(), &motherboard);
    let uid = Name::new("_UID".into(), &0_u8);
    let resources = Resources(vec![&registers]);
    let crs = Name::new("_CRS".into(), &resources);
    code.extend(bytes(&Device::new(
        Path::new("_SB_.ECAM"),
        vec![&hid, &uid, &crs],
    )));
    Ok(code)
}

/// The interrupts of all slots: those of slot 0, rotated by one from slot to slot (ACPI 6.5, section 6.2.13).
fn routing(machine: &Machine, host: &PciHost) -> Result<PackageBuilder, AcpiError> {
    let mut gsis = Vec::new();
    for interrupt in host.intx.iter().flatten() {
        gsis.push(Gsi::of(machine, "PCI host", host.ecam, *interrupt)?.number);
    }
    let mut routing = PackageBuilder::new();
    for slot in 0..SLOTS {
        // Any function of the device.
        let address = slot.wrapping_shl(16) | 0xffff;
        let rotated = gsis.iter().cycle().skip(usize::try_from(slot % 4).unwrap_or(0));
        for (pin, gsi) in (0_u8..4).zip(rotated) {
            routing.add_element(&Package::new(vec![&address, &pin, &0_u8, gsi]));
        }
    }
    Ok(routing)
}

/// QWord address space descriptor (ACPI 6.5, section 6.4.3.5.1). That of `acpi_tables` has no translation between memory and I/O.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct Window {
    tag: u8,
    length: U16,
    kind: u8,
    general_flags: u8,
    type_flags: u8,
    granularity: U64,
    min: U64,
    max: U64,
    translation: U64,
    address_length: U64,
}

const _: () = assert!(size_of::<Window>() == 46);

impl Window {
    /// Minimum and maximum are fixed; the host produces the addresses.
    const FIXED: u8 = 0b1100;
    /// Memory that is written, not prefetchable.
    const MEMORY: u8 = 1;
    /// The same, prefetchable.
    const PREFETCHABLE: u8 = (3 << 1) | 1;
    /// I/O ports of the whole range, which the CPUs reach by memory.
    const IO: u8 = 3 | (1 << 4);

    fn new(window: &PciWindow) -> Result<Self, AcpiError> {
        let PciWindow {
            space,
            range,
            pci_addr,
            ..
        } = *window;
        let (kind, type_flags) = match space {
            PciSpace::Io => (1, Self::IO),
            PciSpace::Memory64 => (0, Self::PREFETCHABLE),
            _ => (0, Self::MEMORY),
        };
        let last = range
            .len()
            .checked_sub(1)
            .and_then(|len| pci_addr.checked_add(len));
        let max = last.filter(|last| *last < space.end());
        let max = max.ok_or(AcpiError::PciWindow { range, pci_addr })?;
        Ok(Self {
            tag: 0x8a,
            length: U16::new(43),
            kind,
            general_flags: Self::FIXED,
            type_flags,
            granularity: U64::ZERO,
            min: pci_addr.into(),
            max: max.into(),
            translation: range.start().wrapping_sub(pci_addr).into(),
            address_length: range.len().into(),
        })
    }
}

impl Aml for Window {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        sink.vec(self.as_bytes());
    }
}

/// The IORT (Arm DEN0049), which leads MSIs of PCI devices to the ITS; `None` where guests need none.
pub(crate) fn iort(machine: &Machine, host: &PciHost) -> Option<Vec<u8>> {
    let has_its = match &machine.platform.interrupt_controller {
        InterruptController::GicV3(gic) => gic.its.is_some(),
        _ => false,
    };
    if !host.msi || !has_its {
        return None;
    }
    let content = Iort {
        nodes: 2.into(),
        first_node: Iort::ITS_GROUP.into(),
        reserved: U32::ZERO,
        its_group: Node::new(0, 24, 0),
        its_count: 1.into(),
        its_id: U32::ZERO,
        root_complex: Node::new(2, 56, 1),
        // Fully coherent (bit 0).
        coherent: 1.into(),
        // No hints; coherent (bit 0) without attributes of its own.
        access: U32::ZERO,
        ats: U32::ZERO,
        segment: U32::ZERO,
        address_bits: 64,
        reserved_end: [0; 3],
        input_base: U32::ZERO,
        id_count: 0xffff.into(),
        output_base: U32::ZERO,
        output_node: Iort::ITS_GROUP.into(),
        flags: U32::ZERO,
    };
    Some(table(*b"IORT", Iort::REVISION, content.as_bytes()))
}

/// The table behind its header: an ITS group, and a root complex whose requester ids are device ids.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct Iort {
    nodes: U32,
    first_node: U32,
    reserved: U32,
    its_group: Node,
    its_count: U32,
    its_id: U32,
    root_complex: Node,
    coherent: U32,
    access: U32,
    ats: U32,
    segment: U32,
    address_bits: u8,
    reserved_end: [u8; 3],
    input_base: U32,
    /// One less than their number.
    id_count: U32,
    output_base: U32,
    output_node: U32,
    flags: U32,
}

const _: () = assert!(size_of::<Iort>() == 92);

impl Iort {
    const REVISION: u8 = 0;
    /// Offset of the first node from the start of the table.
    const ITS_GROUP: u32 = 48;
}

/// The start of a node.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct Node {
    kind: u8,
    length: U16,
    revision: u8,
    identifier: U32,
    mappings: U32,
    mapping_offset: U32,
}

impl Node {
    fn new(kind: u8, length: u16, mappings: u32) -> Self {
        /// Length of a mapping.
        const MAPPING: u32 = 20;
        let offset = u32::from(length).saturating_sub(MAPPING);
        Self {
            kind,
            length: length.into(),
            revision: 0,
            identifier: U32::ZERO,
            mappings: mappings.into(),
            mapping_offset: if mappings == 0 { 0 } else { offset }.into(),
        }
    }
}
