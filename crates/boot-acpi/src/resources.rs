//! Resources of devices in AML.

use alloc::vec::Vec;

use acpi_tables::aml::{AddressSpace, AddressSpaceCacheable, Memory32Fixed, ResourceTemplate};
use acpi_tables::{Aml, AmlSink};
use boot_core::GuestRange;

use crate::error::AcpiError;

/// Registers in memory.
pub(crate) enum Registers {
    Low(Memory32Fixed),
    High(AddressSpace<u64>),
}

impl Registers {
    pub(crate) fn new(device: &'static str, range: GuestRange) -> Result<Self, AcpiError> {
        let last = range.end().checked_sub(1).filter(|_| !range.is_empty());
        let last = last.ok_or(AcpiError::NoRegisters { device, range })?;
        let (start, len) = (u32::try_from(range.start()), u32::try_from(range.len()));
        if let (Ok(start), Ok(len), Ok(_)) = (start, len, u32::try_from(last)) {
            return Ok(Self::Low(Memory32Fixed::new(true, start, len)));
        }
        let kind = AddressSpaceCacheable::NotCacheable;
        let registers = AddressSpace::new_memory(kind, true, range.start(), last, None);
        Ok(Self::High(registers))
    }
}

impl Aml for Registers {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        match self {
            Self::Low(registers) => registers.to_aml_bytes(sink),
            Self::High(registers) => registers.to_aml_bytes(sink),
        }
    }
}

/// A resource template with these resources.
pub(crate) struct Resources<'a>(pub(crate) Vec<&'a dyn Aml>);

impl Aml for Resources<'_> {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        ResourceTemplate::new(self.0.clone()).to_aml_bytes(sink);
    }
}
