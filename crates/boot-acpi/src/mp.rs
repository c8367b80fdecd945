//! The tables of the MultiProcessor Specification, version 1.4, for guests of PCs that do not read ACPI tables.

mod raw;

use alloc::vec;
use alloc::vec::Vec;

use boot_core::machine::{Line, Trigger};
use boot_core::{AdditionalLoad, Arch, GuestRange, Machine, RegionKind, arith};
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U16, U32};

use crate::error::AcpiError;
use crate::pc::Pc;
use raw::{Bus, ConfigHeader, FloatingPointer, Interrupt, IoApic, Processor};

/// Number of interrupts of an ISA bus.
const ISA_IRQS: usize = 16;

/// The interrupt of the second interrupt controller, which devices do not have.
const CASCADE: u8 = 2;

/// Address of all local APICs.
const ALL_APICS: u8 = 0xff;

/// The only bus.
const ISA_BUS: u8 = 0;

/// The MP floating pointer structure and the MP configuration table of a PC: its processors, ISA interrupts, I/O APIC and local interrupts
/// (MultiProcessor Specification 1.4, chapter 4).
///
/// Kernels without ACPI, and Linux with `acpi=off` or without an RSDP if it is built with `CONFIG_X86_MPPARSE`, look for the pointer in the last KiB of
/// base memory, among other places. The configuration table is below it. Guests get their other devices by other means: these tables describe none.
///
/// ```
/// use boot_acpi::{MpTables, Pc};
/// use boot_core::{Arch, Machine, MemoryMap};
///
/// let mut machine = Machine::new(Arch::X86_64, MemoryMap::pc(64 << 20)?);
/// machine.vcpus = 2.try_into()?;
/// let tables = MpTables::new(&machine, &Pc::default())?;
/// assert_eq!(tables.pointer(), 0x9_fc00);
/// let loads = [tables.load()];
/// // let request = BootRequest::new(&image, &machine, &cmdline).with_additional_loads(&loads);
/// # let _ = loads;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MpTables {
    addr: u64,
    bytes: Vec<u8>,
}

impl MpTables {
    /// Largest number of CPUs: their APIC identifiers are 0 to 254, as 255 addresses all of them (section 4.3.1).
    pub const MAX_VCPUS: u32 = 255;

    /// Address of the floating pointer: the last KiB of 640 KiB of base memory (section 4).
    pub const POINTER: u64 = 0x9_fc00;

    /// The tables of a PC. The APIC identifiers of its CPUs are their indices, as in its MADT.
    ///
    /// # Errors
    ///
    /// [`AcpiError::NotAPc`], [`AcpiError::TooManyCpus`], [`AcpiError::Interrupt`] for a virtio-mmio slot whose interrupt is not one of an ISA bus, and
    /// [`AcpiError::NoBaseMemory`] for a machine without RAM at the addresses of the tables.
    pub fn new(machine: &Machine, pc: &Pc) -> Result<Self, AcpiError> {
        if machine.arch != Arch::X86_64 {
            return Err(AcpiError::NotAPc(machine.arch));
        }
        let vcpus = machine.vcpus.get();
        let too_many = AcpiError::TooManyCpus {
            found: vcpus,
            max: Self::MAX_VCPUS,
        };
        let cpus = u8::try_from(vcpus).or(Err(too_many))?;
        let table = table(cpus, pc, &isa_flags(machine)?);
        // The length is a multiple of 4; 255 CPUs take 5384 bytes.
        let len = table.len().next_multiple_of(16);
        let addr = Self::POINTER.saturating_sub(arith::to_u64(len));
        let mut bytes = table;
        bytes.resize(len, 0);
        bytes.extend_from_slice(pointer(addr).as_bytes());
        let tables = Self { addr, bytes };
        if !machine.memory.is_ram(tables.range()) {
            return Err(AcpiError::NoBaseMemory {
                range: tables.range(),
            });
        }
        Ok(tables)
    }

    /// The guest physical address of the floating pointer, which is the last 16 bytes.
    #[must_use]
    pub const fn pointer(&self) -> u64 {
        Self::POINTER
    }

    /// The bytes of configuration table and floating pointer.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The tables as a load of a plan, in a reserved region of the guest's memory map.
    #[must_use]
    pub fn load(&self) -> AdditionalLoad<'_> {
        AdditionalLoad::bytes("MP tables", &self.bytes)
            .at(self.addr)
            .in_region(RegionKind::Reserved)
    }

    /// The guest physical addresses of the tables.
    #[must_use]
    pub fn range(&self) -> GuestRange {
        GuestRange::new(self.addr, arith::to_u64(self.bytes.len())).unwrap_or(GuestRange::EMPTY)
    }
}

/// The flags of each ISA interrupt: those of the bus, or those of the slots that are wired to it.
fn isa_flags(machine: &Machine) -> Result<[u16; ISA_IRQS], AcpiError> {
    let mut flags = [Interrupt::OF_BUS; ISA_IRQS];
    for slot in &machine.platform.virtio_mmio {
        let line = slot.interrupt.line;
        let of_line = match line {
            Line::Gsi(gsi) if gsi != u32::from(CASCADE) => {
                usize::try_from(gsi).ok().and_then(|gsi| flags.get_mut(gsi))
            }
            _ => None,
        };
        let of_line = of_line.ok_or(AcpiError::Interrupt {
            device: "virtio-mmio slot",
            range: slot.range,
            line,
            expected: "a global system interrupt of an ISA bus, 0 to 15 except 2",
        })?;
        *of_line = match slot.interrupt.trigger {
            Trigger::EdgeRising => Interrupt::EDGE_HIGH,
            _ => Interrupt::LEVEL_HIGH,
        };
    }
    Ok(flags)
}

/// The configuration table, with its entries in the order of their types (section 4.3).
fn table(cpus: u8, pc: &Pc, isa_flags: &[u16]) -> Vec<u8> {
    // Identifiers of APICs are unique (section 4.3.3). Of 255 CPUs, the local APICs have them all.
    let io_apic = if cpus == ALL_APICS { 0 } else { cpus };
    let mut entries: Vec<Vec<u8>> = vec![];
    for id in 0..cpus {
        entries.push(Processor::new(id, id == 0).as_bytes().to_vec());
    }
    entries.push(Bus::isa(ISA_BUS).as_bytes().to_vec());
    entries.push(IoApic::new(io_apic, pc.io_apic).as_bytes().to_vec());
    for (irq, flags) in (0_u8..).zip(isa_flags).filter(|(irq, _)| *irq != CASCADE) {
        let interrupt = Interrupt::io(*flags, ISA_BUS, irq, io_apic);
        entries.push(interrupt.as_bytes().to_vec());
    }
    // The interrupt controllers of a PC/AT are wired to LINT0 of the local APICs, NMIs to LINT1.
    for (kind, input) in [(Interrupt::EXT_INT, 0), (Interrupt::NMI, 1)] {
        let interrupt = Interrupt::local(kind, ISA_BUS, ALL_APICS, input);
        entries.push(interrupt.as_bytes().to_vec());
    }
    let count = u16::try_from(entries.len()).unwrap_or(u16::MAX);
    let entries = entries.concat();
    let len = size_of::<ConfigHeader>().saturating_add(entries.len());
    let mut header = ConfigHeader {
        signature: *b"PCMP",
        base_length: U16::new(u16::try_from(len).unwrap_or(u16::MAX)),
        spec_rev: 4,
        checksum: 0,
        oem_id: *b"VMBOOT  ",
        product_id: *b"VM          ",
        oem_table: U32::ZERO,
        oem_table_size: U16::ZERO,
        entry_count: count.into(),
        local_apic: pc.local_apic.into(),
        extended_length: U16::ZERO,
        extended_checksum: 0,
        reserved: 0,
    };
    header.checksum = checksum(&[header.as_bytes(), &entries]);
    [header.as_bytes(), &entries].concat()
}

/// The floating pointer to a table (section 4.1), for a machine in virtual wire mode.
fn pointer(table: u64) -> FloatingPointer {
    let mut pointer = FloatingPointer {
        signature: *b"_MP_",
        // The table is in base memory.
        table: u32::try_from(table).unwrap_or(0).into(),
        length: 1,
        spec_rev: 4,
        checksum: 0,
        features: [0; 5],
    };
    pointer.checksum = checksum(&[pointer.as_bytes()]);
    pointer
}

/// The byte that makes the sum of all bytes zero.
fn checksum(parts: &[&[u8]]) -> u8 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    bytes.fold(0_u8, |sum, byte| sum.wrapping_sub(*byte))
}
