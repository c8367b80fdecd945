//! COM1: a 16550 at 0x3f8, asked until it has room.

use super::port::Port;

const DATA: Port = Port::at(0x3f8);
const INTERRUPT_ENABLE: Port = DATA.plus(1);
const FIFO_CONTROL: Port = DATA.plus(2);
const LINE_CONTROL: Port = DATA.plus(3);
const MODEM_CONTROL: Port = DATA.plus(4);
const LINE_STATUS: Port = DATA.plus(5);

const DATA_READY: u8 = 1 << 0;
const TRANSMITTER_EMPTY: u8 = 1 << 5;

/// Times that a byte waits for room before it is sent all the same: a machine without the device must not hang.
const PATIENCE: u32 = 10_000;

/// The serial port.
pub(crate) struct Serial;

impl Serial {
    /// 115200 baud, 8 bits, no parity, one stop bit; no interrupts.
    pub(crate) fn init() {
        INTERRUPT_ENABLE.write(0);
        LINE_CONTROL.write(0x80);
        DATA.write(1);
        INTERRUPT_ENABLE.write(0);
        LINE_CONTROL.write(0x03);
        FIFO_CONTROL.write(0x07);
        MODEM_CONTROL.write(0x03);
    }

    /// Asks for an interrupt on each byte received. OUT2 lets it through to the interrupt controller.
    pub(crate) fn interrupt_on_receive() {
        MODEM_CONTROL.write(0x0b);
        INTERRUPT_ENABLE.write(1);
    }

    pub(crate) fn send(byte: u8) {
        for _ in 0..PATIENCE {
            if LINE_STATUS.read() & TRANSMITTER_EMPTY != 0 {
                break;
            }
        }
        DATA.write(byte);
    }

    /// The next byte received, if there is one.
    pub(crate) fn receive() -> Option<u8> {
        (LINE_STATUS.read() & DATA_READY != 0).then(|| DATA.read())
    }
}
