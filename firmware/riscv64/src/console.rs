//! The console: the serial port of the device tree, or else that of SBI.

use fw_device_tree::PortCell;
use fw_runtime::Console;

use crate::registers::Mmio;
use crate::sbi;

/// The console.
pub(crate) struct Output;

/// Its port.
pub(crate) static PORT: PortCell<Mmio> = PortCell::new();

impl Console for Output {
    fn send(&self, byte: u8) {
        match PORT.get() {
            Some(port) => port.send(byte),
            None => sbi::send(byte),
        }
    }

    fn receive(&self) -> Option<u8> {
        match PORT.get() {
            Some(port) => port.receive(),
            None => sbi::receive(),
        }
    }
}
