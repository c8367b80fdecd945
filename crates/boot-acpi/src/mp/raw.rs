//! The structures of the MultiProcessor Specification, version 1.4.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{Immutable, IntoBytes};

/// MP floating pointer structure (section 4.1).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct FloatingPointer {
    pub(super) signature: [u8; 4],
    /// Address of the configuration table.
    pub(super) table: U32,
    /// In units of 16 bytes.
    pub(super) length: u8,
    pub(super) spec_rev: u8,
    pub(super) checksum: u8,
    /// The first byte is zero with a configuration table, bit 7 of the second is clear in virtual wire mode.
    pub(super) features: [u8; 5],
}

const _: () = assert!(size_of::<FloatingPointer>() == 16);

/// MP configuration table header (section 4.2).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct ConfigHeader {
    pub(super) signature: [u8; 4],
    pub(super) base_length: U16,
    pub(super) spec_rev: u8,
    pub(super) checksum: u8,
    pub(super) oem_id: [u8; 8],
    pub(super) product_id: [u8; 12],
    pub(super) oem_table: U32,
    pub(super) oem_table_size: U16,
    pub(super) entry_count: U16,
    pub(super) local_apic: U32,
    pub(super) extended_length: U16,
    pub(super) extended_checksum: u8,
    pub(super) reserved: u8,
}

const _: () = assert!(size_of::<ConfigHeader>() == 44);

/// Processor entry (section 4.3.1).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct Processor {
    kind: u8,
    apic_id: u8,
    apic_version: u8,
    flags: u8,
    /// Stepping, model and family.
    signature: U32,
    /// Bits of `EDX` of CPUID leaf 1.
    features: U32,
    reserved: [U32; 2],
}

const _: () = assert!(size_of::<Processor>() == 20);

impl Processor {
    /// The version of integrated local APICs of current processors (section 4.3.1 names 0x10 to 0x1f as integrated).
    const APIC_VERSION: u8 = 0x14;
    const ENABLED: u8 = 1;
    const BOOTSTRAP: u8 = 1 << 1;
    /// Family 6. Guests read CPUID.
    const SIGNATURE: u32 = 0x600;
    /// A floating-point unit and a local APIC.
    const FEATURES: u32 = (1 << 9) | 1;

    pub(super) fn new(apic_id: u8, is_bootstrap: bool) -> Self {
        let role = if is_bootstrap { Self::BOOTSTRAP } else { 0 };
        Self {
            kind: 0,
            apic_id,
            apic_version: Self::APIC_VERSION,
            flags: Self::ENABLED | role,
            signature: Self::SIGNATURE.into(),
            features: Self::FEATURES.into(),
            reserved: [U32::ZERO; 2],
        }
    }
}

/// Bus entry (section 4.3.2).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct Bus {
    kind: u8,
    id: u8,
    name: [u8; 6],
}

const _: () = assert!(size_of::<Bus>() == 8);

impl Bus {
    pub(super) const fn isa(id: u8) -> Self {
        Self {
            kind: 1,
            id,
            name: *b"ISA   ",
        }
    }
}

/// I/O APIC entry (section 4.3.3).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct IoApic {
    kind: u8,
    id: u8,
    version: u8,
    flags: u8,
    address: U32,
}

const _: () = assert!(size_of::<IoApic>() == 8);

impl IoApic {
    pub(super) fn new(id: u8, address: u32) -> Self {
        Self {
            kind: 2,
            id,
            // That of the I/O APIC of KVM, and of the 82093AA.
            version: 0x11,
            // Enabled.
            flags: 1,
            address: address.into(),
        }
    }
}

/// I/O or local interrupt assignment entry (sections 4.3.4 and 4.3.5).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
pub(super) struct Interrupt {
    kind: u8,
    /// The type of the interrupt: vectored, NMI, SMI or external.
    source: u8,
    flags: U16,
    bus: u8,
    irq: u8,
    apic: u8,
    input: u8,
}

const _: () = assert!(size_of::<Interrupt>() == 8);

impl Interrupt {
    /// Polarity and trigger mode of the bus.
    pub(super) const OF_BUS: u16 = 0;
    /// Active high, edge-triggered.
    pub(super) const EDGE_HIGH: u16 = 0b0101;
    /// Active high, level-triggered.
    pub(super) const LEVEL_HIGH: u16 = 0b1101;
    /// The type of NMIs.
    pub(super) const NMI: u8 = 1;
    /// The type of interrupts whose vector an external interrupt controller supplies.
    pub(super) const EXT_INT: u8 = 3;

    /// An interrupt of the bus, wired to the input of the I/O APIC with its number.
    pub(super) fn io(flags: u16, bus: u8, irq: u8, io_apic: u8) -> Self {
        Self {
            kind: 3,
            source: 0,
            flags: flags.into(),
            bus,
            irq,
            apic: io_apic,
            input: irq,
        }
    }

    /// An interrupt of this type, wired to an input of local APICs.
    pub(super) fn local(source: u8, bus: u8, apic: u8, input: u8) -> Self {
        Self {
            kind: 4,
            source,
            flags: Self::OF_BUS.into(),
            bus,
            irq: 0,
            apic,
            input,
        }
    }
}
