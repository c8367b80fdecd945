//! Serial ports, with polled output.
#![expect(unsafe_code, reason = "registers of serial ports")]

use core::cell::Cell;

use boot_core::machine::SerialKind;
use fw_runtime::Console;
use proto_fdt::read::SerialPort;

use crate::registers::Registers;

/// Maximum number of polls for an empty transmitter. The byte is then sent anyway, so that a broken device does not hang the firmware.
const MAX_POLLS: u32 = 100_000;

/// Registers of a 16550, by number.
mod ns16550a {
    pub(super) const DATA: u64 = 0;
    pub(super) const INTERRUPT_ENABLE: u64 = 1;
    pub(super) const FIFO_CONTROL: u64 = 2;
    pub(super) const LINE_CONTROL: u64 = 3;
    pub(super) const MODEM_CONTROL: u64 = 4;
    pub(super) const LINE_STATUS: u64 = 5;
    pub(super) const DATA_READY: u8 = 1 << 0;
    pub(super) const TRANSMITTER_EMPTY: u8 = 1 << 5;
}

/// Registers of a PL011, by offset (PrimeCell UART technical reference manual, section 3.2).
mod pl011 {
    pub(super) const DATA: u64 = 0x00;
    pub(super) const FLAGS: u64 = 0x18;
    pub(super) const LINE_CONTROL: u64 = 0x2c;
    pub(super) const CONTROL: u64 = 0x30;
    pub(super) const INTERRUPT_MASK: u64 = 0x38;
    pub(super) const INTERRUPT_CLEAR: u64 = 0x44;
    pub(super) const RECEIVE_EMPTY: u32 = 1 << 4;
    pub(super) const TRANSMIT_FULL: u32 = 1 << 5;
}

/// A serial port.
#[derive(Clone, Copy)]
pub struct Port<R> {
    port: SerialPort,
    registers: R,
}

impl<R: Registers> Port<R> {
    /// The port, ready to send: 8 data bits, no parity, one stop bit, no interrupts. The baud rate stays as it is.
    ///
    /// # Safety
    ///
    /// `port` is a serial port, its registers are mapped at their physical address as device memory for the life of the program, and nothing
    /// else uses them.
    pub unsafe fn new(port: SerialPort, registers: R) -> Self {
        let this = Self { port, registers };
        if port.kind == SerialKind::Pl011 {
            this.write_pl011(pl011::CONTROL, 0);
            this.write_pl011(pl011::INTERRUPT_MASK, 0);
            this.write_pl011(pl011::INTERRUPT_CLEAR, 0x7ff);
            this.write_pl011(pl011::LINE_CONTROL, 0x60);
            // Transmitter and receiver on.
            this.write_pl011(pl011::CONTROL, 0x301);
        } else {
            this.write_16550(ns16550a::INTERRUPT_ENABLE, 0);
            this.write_16550(ns16550a::LINE_CONTROL, 0x03);
            this.write_16550(ns16550a::FIFO_CONTROL, 0x07);
            this.write_16550(ns16550a::MODEM_CONTROL, 0x03);
        }
        this
    }

    /// The address of a register of the PL011; `None` if it is outside of the range of the port.
    fn pl011(&self, offset: u64) -> Option<u64> {
        let addr = self.port.range.start().checked_add(offset)?;
        (addr.saturating_add(4) <= self.port.range.end()).then_some(addr)
    }

    fn read_pl011(&self, offset: u64) -> u32 {
        let addr = self.pl011(offset);
        // SAFETY: `new` demands that the registers are mapped and belong to this value. They are a multiple of four bytes from the start of
        // the range, which is one, and serial ports do not access memory.
        addr.map_or(0, |addr| unsafe { self.registers.read_u32(addr) })
    }

    fn write_pl011(&self, offset: u64, value: u32) {
        if let Some(addr) = self.pl011(offset) {
            // SAFETY: as in `read_pl011`.
            unsafe { self.registers.write_u32(addr, value) }
        }
    }

    /// The address and the width of a register of the 16550.
    fn ns16550a(&self, register: u64) -> Option<(u64, u32)> {
        let SerialKind::Ns16550a {
            reg_shift,
            reg_io_width,
        } = self.port.kind
        else {
            return None;
        };
        let addr = self.port.range.start().checked_add(register << reg_shift)?;
        let end = addr.saturating_add(reg_io_width.into());
        (end <= self.port.range.end()).then_some((addr, reg_io_width))
    }

    fn read_16550(&self, register: u64) -> u8 {
        let Some((addr, width)) = self.ns16550a(register) else {
            return 0;
        };
        // As in `read_pl011`; registers are aligned to their width, which is at most their distance.
        let value = match width {
            // SAFETY: the register is one of the port, as explained above.
            4 => unsafe { self.registers.read_u32(addr) },
            // SAFETY: the register is one of the port, as explained above.
            2 => unsafe { self.registers.read_u16(addr) }.into(),
            // SAFETY: the register is one of the port, as explained above.
            _ => unsafe { self.registers.read_u8(addr) }.into(),
        };
        value.to_le_bytes()[0]
    }

    fn write_16550(&self, register: u64, value: u8) {
        let Some((addr, width)) = self.ns16550a(register) else {
            return;
        };
        match width {
            // SAFETY: as in `read_16550`.
            4 => unsafe { self.registers.write_u32(addr, value.into()) },
            // SAFETY: as in `read_16550`.
            2 => unsafe { self.registers.write_u16(addr, value.into()) },
            // SAFETY: as in `read_16550`.
            _ => unsafe { self.registers.write_u8(addr, value) },
        }
    }
}

impl<R: Registers> Console for Port<R> {
    fn send(&self, byte: u8) {
        let is_pl011 = self.port.kind == SerialKind::Pl011;
        for _ in 0..MAX_POLLS {
            let is_ready = if is_pl011 {
                self.read_pl011(pl011::FLAGS) & pl011::TRANSMIT_FULL == 0
            } else {
                self.read_16550(ns16550a::LINE_STATUS) & ns16550a::TRANSMITTER_EMPTY != 0
            };
            if is_ready {
                break;
            }
        }
        if is_pl011 {
            self.write_pl011(pl011::DATA, byte.into());
        } else {
            self.write_16550(ns16550a::DATA, byte);
        }
    }

    fn receive(&self) -> Option<u8> {
        if self.port.kind == SerialKind::Pl011 {
            let is_ready = self.read_pl011(pl011::FLAGS) & pl011::RECEIVE_EMPTY == 0;
            is_ready.then(|| self.read_pl011(pl011::DATA).to_le_bytes()[0])
        } else {
            let is_ready = self.read_16550(ns16550a::LINE_STATUS) & ns16550a::DATA_READY != 0;
            is_ready.then(|| self.read_16550(ns16550a::DATA))
        }
    }
}

/// The console of the firmware, for one CPU.
pub struct PortCell<R>(Cell<Option<Port<R>>>);

// SAFETY: there is one CPU, and a handler of exceptions that interrupts `set` does not return.
unsafe impl<R: Send> Sync for PortCell<R> {}

impl<R: Registers> PortCell<R> {
    /// No console.
    #[must_use]
    pub const fn new() -> Self {
        Self(Cell::new(None))
    }

    /// Sets the console.
    pub fn set(&self, port: Port<R>) {
        self.0.set(Some(port));
    }

    /// The console, if there is one.
    pub fn get(&self) -> Option<Port<R>> {
        self.0.get()
    }
}

impl<R: Registers> Default for PortCell<R> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proto_fdt::device_tree::{DeviceTree, Node};
    use proto_fdt::read::serial_port;

    use super::*;
    use crate::fake::Fake;

    /// The port of a tree with this node at 0x1000.
    fn port(compatible: &str, properties: &[(&'static str, u32)]) -> SerialPort {
        let mut node = Node::new("serial");
        node.push_property("compatible", format!("{compatible}\0").into_bytes());
        let reg = [0, 0x1000, 0x1000_u32].map(u32::to_be_bytes);
        node.push_property("reg", reg.concat());
        for (name, value) in properties {
            node.push_property(*name, value.to_be_bytes().to_vec());
        }
        let mut root = Node::new("");
        root.children.push(node);
        serial_port(&DeviceTree::new(root)).unwrap().unwrap()
    }

    /// The writes for the byte 0x41, and a received byte.
    fn send(port: SerialPort, value: fn(u64) -> u32) -> (Vec<(u64, u32, u32)>, Option<u8>) {
        let fake = Fake::new(value);
        // SAFETY: no memory is accessed.
        let port = unsafe { Port::new(port, &fake) };
        fake.writes.borrow_mut().clear();
        port.send(0x41);
        let received = port.receive();
        (fake.writes.take(), received)
    }

    #[test]
    fn bytes_go_to_the_data_register() {
        let pl011 = port("arm,pl011", &[]);
        let value = |addr| if addr == 0x1018 { 0 } else { 0x62 };
        assert_eq!(send(pl011, value), (vec![(0x1000, 4, 0x41)], Some(0x62)));
        let uart = port("ns16550a", &[]);
        let value = |addr| if addr == 0x1005 { 0x21 } else { 0x62 };
        assert_eq!(send(uart, value), (vec![(0x1000, 1, 0x41)], Some(0x62)));
        for (width, shift) in [(4, 2), (2, 1), (1, 2)] {
            let uart = port("ns16550a", &[("reg-shift", shift), ("reg-io-width", width)]);
            let value = if shift == 2 {
                |addr| if addr == 0x1014 { 0x21 } else { 0x62 }
            } else {
                |addr| if addr == 0x100a { 0x21 } else { 0x62 }
            };
            assert_eq!(send(uart, value), (vec![(0x1000, width, 0x41)], Some(0x62)));
        }
    }

    #[test]
    fn a_port_that_is_never_ready_does_not_hang() {
        let busy = |addr| if addr == 0x1018 { 0x30 } else { 0 };
        assert_eq!(
            send(port("arm,pl011", &[]), busy),
            (vec![(0x1000, 4, 0x41)], None)
        );
        assert_eq!(send(port("ns16550a", &[]), busy), (vec![(0x1000, 1, 0x41)], None));
    }
}
