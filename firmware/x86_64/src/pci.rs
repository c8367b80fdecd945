//! The PCI configuration space by the ports 0xcf8 and 0xcfc (PCI Local Bus Specification 3.0, section 3.2.2.3.2).
#![expect(unsafe_code, reason = "the ports of the configuration space")]

use fw_virtio::pci::{ConfigurationAccess, DeviceFunction};

use crate::port::Port;

/// Register for the address: bit 31 enables the access.
// SAFETY: the register selects an address only.
const ADDRESS: Port = unsafe { Port::new(0xcf8) };
/// Register for the data.
// SAFETY: the firmware starts transfers only through drivers that own their memory.
const DATA: Port = unsafe { Port::new(0xcfc) };

const ENABLE: u32 = 1 << 31;

/// Access by ports.
pub(crate) struct PortAccess;

fn select(at: DeviceFunction, register: u8) {
    let [bus, device, function] = [at.bus, at.device, at.function].map(u32::from);
    let address = bus << 16 | (device & 31) << 11 | (function & 7) << 8 | u32::from(register & !3);
    ADDRESS.write_u32(ENABLE | address);
}

impl ConfigurationAccess for PortAccess {
    fn read_word(&self, at: DeviceFunction, register: u8) -> u32 {
        select(at, register);
        DATA.read_u32()
    }

    fn write_word(&mut self, at: DeviceFunction, register: u8, data: u32) {
        select(at, register);
        DATA.write_u32(data);
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}
