//! The configuration space of a PCI host, memory-mapped (PCI Express Base Specification, "Enhanced Configuration Access Mechanism").
#![expect(unsafe_code, reason = "registers of PCI devices")]

use boot_core::GuestRange;
use fw_virtio::pci::{ConfigurationAccess, DeviceFunction};

use crate::registers::Registers;

/// Access to the configuration space.
#[derive(Clone, Copy)]
pub(crate) struct Ecam<R> {
    range: GuestRange,
    registers: R,
}

/// What a function that does not exist reads as.
const NO_FUNCTION: u32 = u32::MAX;

impl<R: Registers> Ecam<R> {
    /// The configuration space at `range`, a multiple of 1 MiB.
    ///
    /// # Safety
    ///
    /// The range is a configuration space, mapped at its physical address as device memory for the life of the program, and nothing else
    /// uses it.
    pub(crate) const unsafe fn new(range: GuestRange, registers: R) -> Self {
        Self { range, registers }
    }

    /// The address of a register; `None` outside of the range: buses without a configuration space.
    fn addr(&self, at: DeviceFunction, register: u8) -> Option<u64> {
        let [bus, device, function] = [at.bus, at.device, at.function].map(u64::from);
        let function = bus << 20 | (device & 31) << 15 | (function & 7) << 12;
        let addr = self
            .range
            .start()
            .checked_add(function | u64::from(register & !3))?;
        (addr < self.range.end()).then_some(addr)
    }
}

impl<R: Registers> ConfigurationAccess for Ecam<R> {
    fn read_word(&self, at: DeviceFunction, register: u8) -> u32 {
        let addr = self.addr(at, register);
        // SAFETY: `new` demands that the range is mapped and belongs to this value; reads of the configuration space do not access memory.
        addr.map_or(NO_FUNCTION, |addr| unsafe { self.registers.read_u32(addr) })
    }

    fn write_word(&mut self, at: DeviceFunction, register: u8, data: u32) {
        if let Some(addr) = self.addr(at, register) {
            // SAFETY: as in `read_word`; devices access memory only as their drivers tell them.
            unsafe { self.registers.write_u32(addr, data) }
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[test]
    fn functions_have_4_kib_each_and_buses_1_mib() {
        let fake = Fake::new(|addr| u32::try_from(addr & 0xffff_ffff).unwrap());
        let range = GuestRange::new(0x3000_0000, 2 << 20).unwrap();
        // SAFETY: no memory is accessed.
        let mut ecam = unsafe { Ecam::new(range, &fake) };
        let at = |bus, device, function| DeviceFunction {
            bus,
            device,
            function,
        };
        assert_eq!(ecam.read_word(at(0, 0, 0), 0), 0x3000_0000);
        assert_eq!(ecam.read_word(at(1, 2, 3), 0x12), 0x3011_3010);
        assert_eq!(ecam.read_word(at(1, 31, 7), 0xfc), 0x301f_f0fc);
        // Buses behind the end do not exist.
        assert_eq!(ecam.read_word(at(2, 0, 0), 0), NO_FUNCTION);
        ecam.write_word(at(2, 0, 0), 4, 6);
        ecam.write_word(at(1, 0, 0), 4, 6);
        assert_eq!(*fake.writes.borrow(), [(0x3010_0004, 4, 6)]);
    }
}
