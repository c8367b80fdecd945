//! The tables as one block of bytes.

use alloc::vec;
use alloc::vec::Vec;

use acpi_tables::rsdp::Rsdp;
use acpi_tables::xsdt::XSDT;
use boot_core::{AdditionalLoad, Arch, Constraints, GuestRange, Machine, RamAllocator, RegionKind, arith};

use crate::dsdt::dsdt;
use crate::error::AcpiError;
use crate::fadt::fadt;
use crate::numa::{slit, srat};
use crate::oem::{OEM_ID, OEM_REVISION, OEM_TABLE_ID, bytes};
use crate::pc::Pc;
use crate::pptt::pptt;
use crate::spcr::{spcr, spcr_of_platform};
use crate::{madt, platform};

/// Alignment of the tables: that of the RSDP (ACPI 6.5, section 5.2.5.1).
const ALIGN: usize = 16;

/// The ACPI tables of a machine: the RSDP, and behind it the tables that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcpiTables {
    rsdp: u64,
    bytes: Vec<u8>,
}

impl AcpiTables {
    /// Largest number of CPUs of a PC: as many as KVM has identifiers for on x86_64 (`KVM_MAX_VCPU_IDS`).
    pub const MAX_VCPUS: u32 = 0x4000;

    /// The tables of `machine` for the guest physical address `addr`. They contain addresses of each other, so they belong there and nowhere
    /// else. Their length does not depend on the address.
    ///
    /// `pc` is the hardware of a PC that `machine` does not describe. All hardware of an arm64 or riscv64 machine is in its
    /// [`platform`](Machine::platform); `pc` is not used for it.
    ///
    /// # Errors
    ///
    /// [`AcpiError::TooManyCpus`], [`AcpiError::Numa`], [`AcpiError::Topology`], [`AcpiError::Interrupt`],
    /// [`NoRegisters`](AcpiError::NoRegisters) and [`TooManySlots`](AcpiError::TooManySlots) for devices that the machine cannot have,
    /// [`AcpiError::Port0`] and [`PortRange`](AcpiError::PortRange) for I/O ports, [`AcpiError::Address`] for an address that is not a multiple of 16
    /// or too high; and for a platform that is incomplete or inconsistent, the other variants.
    pub fn new(machine: &Machine, pc: &Pc, addr: u64) -> Result<Self, AcpiError> {
        let (pc, first) = match machine.arch {
            Arch::X86_64 => (Some(pc), Vec::from([of_pc(machine, pc)?])),
            _ => (None, platform::tables(machine)?),
        };
        if let Some(numa) = &machine.numa {
            numa.check(machine.vcpus, &machine.memory)?;
        }
        if let Some(topology) = &machine.topology {
            topology.check(machine.vcpus)?;
        }
        let mut tables = Blocks {
            addr,
            bytes: vec![0; Rsdp::len()],
        };
        let dsdt = dsdt(machine, pc)?;
        let dsdt = tables.push(&dsdt);
        let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
        xsdt.add_entry(tables.push(&bytes(&fadt(machine, pc, dsdt))));
        for table in first {
            xsdt.add_entry(tables.push(&table));
        }
        let console = match pc {
            Some(pc) => pc.serial.map(spcr),
            None => machine
                .platform
                .serial
                .first()
                .map_or(Ok(None), |port| spcr_of_platform(machine, port).map(Some))?,
        };
        if let Some(table) = console {
            xsdt.add_entry(tables.push(&table));
        }
        if let Some(numa) = &machine.numa {
            for table in [srat(machine, numa), slit(numa)] {
                xsdt.add_entry(tables.push(&table));
            }
        }
        if let Some(topology) = &machine.topology {
            xsdt.add_entry(tables.push(&pptt(topology)));
        }
        let xsdt = tables.push(&bytes(&xsdt));
        let mut all = tables.bytes;
        let rsdp = bytes(&Rsdp::new(OEM_ID, xsdt));
        if let Some(head) = all.get_mut(..rsdp.len()) {
            head.copy_from_slice(&rsdp);
        }
        let len = all.len();
        let is_aligned = arith::align_down(addr, arith::to_u64(ALIGN)) == addr;
        if !is_aligned || addr.checked_add(arith::to_u64(len)).is_none() {
            return Err(AcpiError::Address { addr, len });
        }
        Ok(Self {
            rsdp: addr,
            bytes: all,
        })
    }

    /// The tables in the last pages of RAM that have room for them, below 4 GiB if possible. Those of a PC must be there.
    ///
    /// # Errors
    ///
    /// [`AcpiError::NoRoom`] without such pages, and those of [`new`](Self::new).
    pub fn at_end_of_ram(machine: &Machine, pc: &Pc) -> Result<Self, AcpiError> {
        let len = Self::new(machine, pc, 0)?.bytes.len();
        let is_pc = machine.arch == Arch::X86_64;
        let low = Constraints::below_4g(0x1000);
        let anywhere = (!is_pc).then_some(Constraints::aligned(0x1000));
        for pages in [Some(low), anywhere].into_iter().flatten() {
            let pages = pages.not_below(0x1000).highest();
            let mut ram = RamAllocator::new(&machine.memory);
            for reserved in &machine.platform.reserved_memory {
                ram.exclude_rest("reserved memory", reserved.range);
            }
            if let Ok(range) = ram.allocate("ACPI tables", arith::to_u64(len), &pages) {
                return Self::new(machine, pc, range.start());
            }
        }
        Err(AcpiError::NoRoom { len, is_pc })
    }

    /// The guest physical address of the RSDP, which is that of the first byte.
    #[must_use]
    pub const fn rsdp(&self) -> u64 {
        self.rsdp
    }

    /// The bytes of all tables.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The tables as a load of a plan, in a region of the guest's memory map for ACPI tables.
    #[must_use]
    pub fn load(&self) -> AdditionalLoad<'_> {
        AdditionalLoad::bytes("ACPI tables", &self.bytes)
            .at(self.rsdp)
            .in_region(RegionKind::AcpiReclaimable)
    }

    /// The guest physical addresses of all tables.
    #[must_use]
    pub fn range(&self) -> GuestRange {
        GuestRange::new(self.rsdp, arith::to_u64(self.bytes.len())).unwrap_or(GuestRange::EMPTY)
    }
}

/// The MADT of a PC.
fn of_pc(machine: &Machine, pc: &Pc) -> Result<Vec<u8>, AcpiError> {
    pc.check()?;
    let vcpus = machine.vcpus.get();
    if vcpus > AcpiTables::MAX_VCPUS {
        return Err(AcpiError::TooManyCpus {
            found: vcpus,
            max: AcpiTables::MAX_VCPUS,
        });
    }
    Ok(bytes(&madt::of_pc(pc, vcpus)))
}

/// Tables one after the other.
struct Blocks {
    addr: u64,
    bytes: Vec<u8>,
}

impl Blocks {
    /// Adds a table and returns its address.
    fn push(&mut self, table: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
        let addr = self.addr.wrapping_add(arith::to_u64(self.bytes.len()));
        self.bytes.extend_from_slice(table);
        addr
    }
}
