//! COM1: a 16550 at 0x3f8, with polled output.

use super::port::Port;

const DATA: Port = Port::at(0x3f8);
const INTERRUPT_ENABLE: Port = DATA.plus(1);
const FIFO_CONTROL: Port = DATA.plus(2);
const LINE_CONTROL: Port = DATA.plus(3);
const MODEM_CONTROL: Port = DATA.plus(4);
const LINE_STATUS: Port = DATA.plus(5);

const DATA_READY: u8 = 1 << 0;
const TRANSMITTER_EMPTY: u8 = 1 << 5;

/// Maximum number of polls for an empty transmitter. The byte is then sent anyway, so that a machine without the device does not
/// hang.
const MAX_POLLS: u32 = 10_000;

/// The serial port.
pub(crate) struct Serial;

impl Serial {
    /// Sets 115200 baud, 8 data bits, no parity, one stop bit, no interrupts.
    pub(crate) fn init() {
        INTERRUPT_ENABLE.write(0);
        LINE_CONTROL.write(0x80);
        DATA.write(1);
        INTERRUPT_ENABLE.write(0);
        LINE_CONTROL.write(0x03);
        FIFO_CONTROL.write(0x07);
        MODEM_CONTROL.write(0x03);
    }

    /// Enables the receive interrupt. OUT2 connects it to the interrupt controller.
    pub(crate) fn interrupt_on_receive() {
        MODEM_CONTROL.write(0x0b);
        INTERRUPT_ENABLE.write(1);
    }

    pub(crate) fn send(byte: u8) {
        for _ in 0..MAX_POLLS {
            if LINE_STATUS.read() & TRANSMITTER_EMPTY != 0 {
                break;
            }
        }
        DATA.write(byte);
    }

    /// The next received byte, if there is one.
    pub(crate) fn receive() -> Option<u8> {
        (LINE_STATUS.read() & DATA_READY != 0).then(|| DATA.read())
    }
}
