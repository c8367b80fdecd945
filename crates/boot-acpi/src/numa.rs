//! The tables of NUMA nodes: SRAT and SLIT. A node is a proximity domain with its number.

use alloc::vec::Vec;

use acpi_tables::sdt::Sdt;
use acpi_tables::slit::SLIT;
use acpi_tables::srat::MemoryAffinity;
use boot_core::machine::Numa;
use boot_core::{Arch, Machine};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{Immutable, IntoBytes};

use crate::madt::xapic_id;
use crate::oem::{OEM_ID, OEM_REVISION, OEM_TABLE_ID, bytes};

/// Revision of the SRAT (ACPI 6.5, section 5.2.16). From 2 on, proximity domains have 32 bits.
const SRAT_REVISION: u8 = 3;

/// Length of the SRAT without its structures: the header, a 1, and eight bytes that are reserved (ACPI 6.5, section 5.2.16).
const SRAT_HEAD_LEN: u32 = 48;

/// Offset of the 1, which earlier revisions had as their revision (ACPI 6.5, section 5.2.16).
const SRAT_ONE: usize = 36;

/// The structure is that of a CPU that exists (ACPI 6.5, sections 5.2.16.1 and 5.2.16.3: flags).
const ENABLED: u32 = 1;

/// The SRAT of `machine` with these nodes: its CPUs, by their APIC identifiers or UIDs, and its RAM (ACPI 6.5, section 5.2.16).
///
/// `acpi_tables` has a SRAT without structures of APICs and GICs, so only its memory structure is of use.
pub(crate) fn srat(machine: &Machine, numa: &Numa) -> Vec<u8> {
    let mut srat = Sdt::new(
        *b"SRAT",
        SRAT_HEAD_LEN,
        SRAT_REVISION,
        OEM_ID,
        OEM_TABLE_ID,
        OEM_REVISION,
    );
    srat.write_u32(SRAT_ONE, 1);
    let mut structures = Vec::new();
    for (cpu, node) in numa.cpus() {
        match (machine.arch, xapic_id(cpu)) {
            (Arch::Aarch64, _) => structures.extend_from_slice(GiccAffinity::new(node, cpu).as_bytes()),
            (Arch::Riscv64, _) => structures.extend_from_slice(RintcAffinity::new(node, cpu).as_bytes()),
            (_, Some(short)) => structures.extend_from_slice(ApicAffinity::new(node, short).as_bytes()),
            (_, None) => structures.extend_from_slice(X2ApicAffinity::new(node, cpu).as_bytes()),
        }
    }
    for (range, node) in numa.ram(&machine.memory) {
        let memory = MemoryAffinity::new(node, range.start(), range.len()).enabled();
        structures.extend(bytes(&memory));
    }
    srat.append_slice(&structures);
    srat.as_slice().to_vec()
}

/// The SLIT of these nodes, at most [`Numa::MAX_NODES`] (ACPI 6.5, section 5.2.17).
pub(crate) fn slit(numa: &Numa) -> Vec<u8> {
    let count = u32::try_from(numa.nodes.len()).unwrap_or(u32::MAX);
    let mut slit = SLIT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION, count);
    for ((a, _), index) in numa.numbered().zip(0_usize..) {
        for ((b, _), other) in numa.numbered().zip(0_usize..index) {
            slit.set_distance(index, other, numa.distance(a, b));
        }
    }
    bytes(&slit)
}

/// Processor local APIC/SAPIC affinity structure (ACPI 6.5, section 5.2.16.1).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct ApicAffinity {
    kind: u8,
    length: u8,
    /// Bits 0 to 7 of the proximity domain.
    domain_low: u8,
    apic_id: u8,
    flags: U32,
    local_sapic_eid: u8,
    /// Bits 8 to 31 of the proximity domain.
    domain_high: [u8; 3],
    clock_domain: U32,
}

const _: () = assert!(size_of::<ApicAffinity>() == 16);

impl ApicAffinity {
    /// The CPU with this APIC identifier.
    fn new(domain: u32, apic_id: u8) -> Self {
        let [domain_low, domain_high @ ..] = domain.to_le_bytes();
        Self {
            kind: 0,
            length: 16,
            domain_low,
            apic_id,
            flags: ENABLED.into(),
            local_sapic_eid: 0,
            domain_high,
            clock_domain: U32::ZERO,
        }
    }
}

/// Processor local x2APIC affinity structure (ACPI 6.5, section 5.2.16.3).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct X2ApicAffinity {
    kind: u8,
    length: u8,
    reserved: U16,
    domain: U32,
    x2apic_id: U32,
    flags: U32,
    clock_domain: U32,
    reserved_end: U32,
}

const _: () = assert!(size_of::<X2ApicAffinity>() == 24);

impl X2ApicAffinity {
    /// The CPU with this x2APIC identifier.
    fn new(domain: u32, x2apic_id: u32) -> Self {
        Self {
            kind: 2,
            length: 24,
            reserved: U16::ZERO,
            domain: domain.into(),
            x2apic_id: x2apic_id.into(),
            flags: ENABLED.into(),
            clock_domain: U32::ZERO,
            reserved_end: U32::ZERO,
        }
    }
}

/// GICC affinity structure (ACPI 6.5, section 5.2.16.4).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct GiccAffinity {
    kind: u8,
    length: u8,
    domain: U32,
    processor_uid: U32,
    flags: U32,
    clock_domain: U32,
}

const _: () = assert!(size_of::<GiccAffinity>() == 18);

impl GiccAffinity {
    /// The CPU with this UID.
    fn new(domain: u32, uid: u32) -> Self {
        Self {
            kind: 3,
            length: 18,
            domain: domain.into(),
            processor_uid: uid.into(),
            flags: ENABLED.into(),
            clock_domain: U32::ZERO,
        }
    }
}

/// RINTC affinity structure (ACPI 6.6, section 5.2.16.8). That of `acpi_tables` lacks the proximity domain.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct RintcAffinity {
    kind: u8,
    length: u8,
    reserved: U16,
    domain: U32,
    processor_uid: U32,
    flags: U32,
    clock_domain: U32,
}

const _: () = assert!(size_of::<RintcAffinity>() == 20);

impl RintcAffinity {
    /// The hart with this UID.
    fn new(domain: u32, uid: u32) -> Self {
        Self {
            kind: 7,
            length: 20,
            reserved: U16::ZERO,
            domain: domain.into(),
            processor_uid: uid.into(),
            flags: ENABLED.into(),
            clock_domain: U32::ZERO,
        }
    }
}
