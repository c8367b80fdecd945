//! COM1: a 16550 at 0x3f8, with polled output.
#![expect(unsafe_code, reason = "the ports of COM1")]

use fw_runtime::Console;

use crate::port::Port;

/// Maximum number of polls for an empty transmitter. The byte is then sent anyway, so that a machine without the device does not
/// hang.
const MAX_POLLS: u32 = 10_000;

const DATA_READY: u8 = 1 << 0;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// Line status of a machine without the device.
const NO_DEVICE: u8 = 0xff;

/// The serial port.
pub(crate) struct Serial {
    data: Port,
    interrupt_enable: Port,
    fifo_control: Port,
    line_control: Port,
    modem_control: Port,
    line_status: Port,
}

/// Port `offset` of COM1.
const fn port(offset: u16) -> Port {
    // SAFETY: a 16550 does not access memory.
    unsafe { Port::new(0x3f8 + offset) }
}

/// COM1.
pub(crate) static COM1: Serial = Serial {
    data: port(0),
    interrupt_enable: port(1),
    fifo_control: port(2),
    line_control: port(3),
    modem_control: port(4),
    line_status: port(5),
};

impl Serial {
    /// True if the machine has the device.
    pub(crate) fn is_present(&self) -> bool {
        self.line_status.read_u8() != NO_DEVICE
    }

    /// Sets 115200 baud, 8 data bits, no parity, one stop bit, no interrupts.
    pub(crate) fn init(&self) {
        self.interrupt_enable.write_u8(0);
        self.line_control.write_u8(0x80);
        self.data.write_u8(1);
        self.interrupt_enable.write_u8(0);
        self.line_control.write_u8(0x03);
        self.fifo_control.write_u8(0x07);
        self.modem_control.write_u8(0x03);
    }
}

impl Console for Serial {
    fn send(&self, byte: u8) {
        for _ in 0..MAX_POLLS {
            if self.line_status.read_u8() & TRANSMITTER_EMPTY != 0 {
                break;
            }
        }
        self.data.write_u8(byte);
    }

    fn receive(&self) -> Option<u8> {
        let status = self.line_status.read_u8();
        (status != NO_DEVICE && status & DATA_READY != 0).then(|| self.data.read_u8())
    }
}
