//! The MADT of a PC.

use acpi_tables::madt::{EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic};
use acpi_tables::{Aml, AmlSink};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{Immutable, IntoBytes};

use crate::oem::{OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::pc::Pc;

/// The first APIC identifier that a structure for a local APIC cannot have: 0xff addresses all of them.
const FIRST_X2APIC_ID: u32 = 0xff;

/// The identifier in a structure for a local APIC; `None` if it needs one for an x2APIC.
pub(crate) fn xapic_id(id: u32) -> Option<u8> {
    u8::try_from(id).ok().filter(|_| id < FIRST_X2APIC_ID)
}

/// Identifier of the I/O APIC.
const IO_APIC_ID: u8 = 0;

/// The MADT of `pc` with `vcpus` CPUs, whose APIC identifiers and UIDs are their indices (ACPI 6.5, section 5.2.12).
pub(crate) fn madt(pc: &Pc, vcpus: u32) -> MADT {
    let mut madt = MADT::new(
        OEM_ID,
        OEM_TABLE_ID,
        OEM_REVISION,
        LocalInterruptController::Address(pc.local_apic),
    );
    for id in 0..vcpus {
        match xapic_id(id) {
            Some(short) => {
                madt.add_structure(ProcessorLocalApic::new(short, short, EnabledStatus::Enabled));
            }
            None => madt.add_structure(LocalX2Apic::new(id)),
        }
    }
    madt.add_structure(IoApic::new(IO_APIC_ID, pc.io_apic, 0));
    madt
}

/// Processor local x2APIC structure (ACPI 6.5, section 5.2.12.12).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct LocalX2Apic {
    kind: u8,
    length: u8,
    reserved: U16,
    x2apic_id: U32,
    flags: U32,
    processor_uid: U32,
}

const _: () = assert!(size_of::<LocalX2Apic>() == 16);

impl LocalX2Apic {
    /// An enabled CPU whose UID is its APIC identifier.
    fn new(id: u32) -> Self {
        Self {
            kind: 9,
            length: 16,
            reserved: U16::ZERO,
            x2apic_id: id.into(),
            // Enabled.
            flags: 1.into(),
            processor_uid: id.into(),
        }
    }
}

impl Aml for LocalX2Apic {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(self.as_bytes());
    }
}
