//! The MADT of an arm64 machine: GIC CPU interfaces, distributor, redistributors, ITS or message frame.

use alloc::vec::Vec;

use acpi_tables::madt::{GicIts, GicMsi, GicVersion, Gicd, Gicr};
use boot_core::machine::{Arm64Cpu, GicV2, GicV3, InterruptController};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{Immutable, IntoBytes};

use super::without_apics;
use crate::error::{AcpiError, field};
use crate::oem::bytes;

/// The MADT of these CPUs, whose UIDs and interface numbers are their indices, and their GIC (ACPI 6.5, sections 5.2.12.14 to 5.2.12.18).
pub(crate) fn madt(cpus: &[Arm64Cpu], controller: &InterruptController) -> Result<Vec<u8>, AcpiError> {
    let mut structures = Vec::new();
    let mut add_cpus = |interface: u64| {
        for (uid, cpu) in (0..).zip(cpus) {
            structures.extend_from_slice(Gicc::new(uid, cpu.affinity(), interface).as_bytes());
        }
    };
    match controller {
        InterruptController::GicV2(gic) => {
            add_cpus(gic.cpu_interface.start());
            add_v2(&mut structures, gic)?;
        }
        InterruptController::GicV3(gic) => {
            // System registers are in place of a CPU interface in memory.
            add_cpus(0);
            add_v3(&mut structures, gic)?;
        }
        _ => return Err(AcpiError::NoController { expected: "a GIC" }),
    }
    Ok(without_apics(&structures))
}

fn add_v2(structures: &mut Vec<u8>, gic: &GicV2) -> Result<(), AcpiError> {
    let distributor = Gicd::new(0, gic.distributor.start(), GicVersion::GICv2);
    structures.extend(bytes(&distributor));
    if let Some(v2m) = &gic.v2m {
        // An INTID, as in the frame's own register.
        let first = u64::from(v2m.first_spi).saturating_add(32);
        let frame = GicMsi::new().base_addr(v2m.frame.start()).spi_count_and_base(
            field("number of interrupts of the GICv2m frame", v2m.spis.into())?,
            field("first interrupt of the GICv2m frame", first)?,
        );
        structures.extend(bytes(&frame));
    }
    Ok(())
}

fn add_v3(structures: &mut Vec<u8>, gic: &GicV3) -> Result<(), AcpiError> {
    let distributor = Gicd::new(0, gic.distributor.start(), GicVersion::GICv3);
    structures.extend(bytes(&distributor));
    for region in &gic.redistributors {
        let len = field("length of a redistributor region", region.len())?;
        structures.extend(bytes(&Gicr::new(region.start(), len)));
    }
    if let Some(its) = gic.its {
        structures.extend(bytes(&GicIts::new(0, its.start())));
    }
    Ok(())
}

/// GIC CPU interface structure, in the length of ACPI 6.4 (section 5.2.12.14). That of `acpi_tables` has two bytes more, which ACPI 6.5 added for
/// the interrupt of trace buffers.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct Gicc {
    kind: u8,
    length: u8,
    reserved: U16,
    interface_number: U32,
    processor_uid: U32,
    flags: U32,
    parking_protocol: U32,
    performance_interrupt: U32,
    parked_address: U64,
    base_address: U64,
    virtual_registers: U64,
    hypervisor_registers: U64,
    maintenance_interrupt: U32,
    redistributor: U64,
    mpidr: U64,
    efficiency_class: u8,
    reserved_end: u8,
    overflow_interrupt: U16,
}

const _: () = assert!(size_of::<Gicc>() == 80);

impl Gicc {
    /// The CPU is there.
    const ENABLED: u32 = 1;

    /// The CPU with this UID and affinity, with its interface at the address `interface` on a GICv2.
    fn new(uid: u32, affinity: u64, interface: u64) -> Self {
        Self {
            kind: 0xb,
            length: 80,
            reserved: U16::ZERO,
            interface_number: uid.into(),
            processor_uid: uid.into(),
            flags: Self::ENABLED.into(),
            parking_protocol: U32::ZERO,
            performance_interrupt: U32::ZERO,
            parked_address: U64::ZERO,
            base_address: interface.into(),
            virtual_registers: U64::ZERO,
            hypervisor_registers: U64::ZERO,
            maintenance_interrupt: U32::ZERO,
            // Redistributors are found in their regions.
            redistributor: U64::ZERO,
            mpidr: affinity.into(),
            efficiency_class: 0,
            reserved_end: 0,
            overflow_interrupt: U16::ZERO,
        }
    }
}
