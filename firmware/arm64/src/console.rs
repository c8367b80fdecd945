//! The console: the serial port of the device tree.

use fw_device_tree::PortCell;
use fw_runtime::Console;

use crate::registers::Mmio;

/// The console. Without a port, what is printed is lost.
pub(crate) struct Output;

/// Its port.
pub(crate) static PORT: PortCell<Mmio> = PortCell::new();

impl Console for Output {
    fn send(&self, byte: u8) {
        if let Some(port) = PORT.get() {
            port.send(byte);
        }
    }

    fn receive(&self) -> Option<u8> {
        PORT.get()?.receive()
    }
}
