//! Serial port of `stdout-path`: an NS16550A or a PL011, with polled output.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::fdt::{Fdt, Node};

use super::arch;

/// Maximum number of polls before a byte. The byte is then sent anyway, so that a broken device does not hang the program.
const MAX_POLLS: u32 = 100_000;

/// Kind of the console; set once, before the first byte.
static KIND: AtomicU8 = AtomicU8::new(FIRMWARE);
static BASE: AtomicU64 = AtomicU64::new(0);
static SHIFT: AtomicU8 = AtomicU8::new(0);

/// No serial port: the console of firmware.
const FIRMWARE: u8 = 0;
const NS16550A: u8 = 1;
const PL011: u8 = 2;

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

/// PrimeCell UART (PL011) technical reference manual, section 3.2.
mod pl011 {
    pub(super) const DATA: u64 = 0x00;
    pub(super) const FLAGS: u64 = 0x18;
    pub(super) const LINE_CONTROL: u64 = 0x2c;
    pub(super) const CONTROL: u64 = 0x30;
    pub(super) const INTERRUPT_MASK: u64 = 0x38;
    pub(super) const INTERRUPT_CLEAR: u64 = 0x44;
    pub(super) const RECEIVE_EMPTY: u32 = 1 << 4;
    pub(super) const TRANSMIT_FULL: u32 = 1 << 5;
    pub(super) const RECEIVE_INTERRUPT: u32 = 1 << 4;
}

/// The node of `stdout-path`, which is a path or an alias; options after a colon are ignored.
pub(crate) fn stdout<'a>(tree: &Fdt<'a>) -> Option<Node<'a>> {
    let path = tree.node("/chosen")?.string("stdout-path")?;
    let path = path.split(':').next()?;
    if path.starts_with('/') {
        tree.node(path)
    } else {
        tree.node(tree.node("/aliases")?.string(path)?)
    }
}

/// The kind of the port, or `FIRMWARE` if it is unknown.
fn kind(node: &Node<'_>) -> u8 {
    if node.is_compatible("ns16550a") {
        NS16550A
    } else if node.is_compatible("arm,pl011") {
        PL011
    } else {
        FIRMWARE
    }
}

/// Initialises the port of `stdout-path`, or else the first known port.
pub(crate) fn init(tree: &Fdt<'_>) {
    let node = stdout(tree)
        .into_iter()
        .chain(tree.nodes())
        .find(|node| kind(node) != FIRMWARE && node.range().is_some());
    let Some((node, (base, _))) = node.and_then(|node| Some((node, node.range()?))) else {
        return;
    };
    let offset = node.u32("reg-offset").unwrap_or(0);
    let shift = node.u32("reg-shift").unwrap_or(0).min(8);
    BASE.store(base.saturating_add(offset.into()), Ordering::Relaxed);
    SHIFT.store(shift.to_le_bytes()[0], Ordering::Relaxed);
    KIND.store(kind(&node), Ordering::Relaxed);
    if kind(&node) == NS16550A {
        // 115200 baud, 8 bits, no parity, one stop bit; no interrupts.
        write_8250(ns16550a::INTERRUPT_ENABLE, 0);
        write_8250(ns16550a::LINE_CONTROL, 0x80);
        write_8250(ns16550a::DATA, 1);
        write_8250(ns16550a::INTERRUPT_ENABLE, 0);
        write_8250(ns16550a::LINE_CONTROL, 0x03);
        write_8250(ns16550a::FIFO_CONTROL, 0x07);
        write_8250(ns16550a::MODEM_CONTROL, 0x03);
    } else {
        // Disable, mask interrupts, 8 data bits without FIFOs, enable both directions. The baud rate stays as set by firmware.
        arch::write_u32(base.saturating_add(pl011::CONTROL), 0);
        arch::write_u32(base.saturating_add(pl011::INTERRUPT_MASK), 0);
        arch::write_u32(base.saturating_add(pl011::INTERRUPT_CLEAR), 0x7ff);
        arch::write_u32(base.saturating_add(pl011::LINE_CONTROL), 0x60);
        arch::write_u32(base.saturating_add(pl011::CONTROL), 0x301);
    }
}

fn base() -> u64 {
    BASE.load(Ordering::Relaxed)
}

fn address_8250(register: u64) -> u64 {
    base().saturating_add(register << SHIFT.load(Ordering::Relaxed))
}

fn read_8250(register: u64) -> u8 {
    arch::read_u8(address_8250(register))
}

fn write_8250(register: u64, value: u8) {
    arch::write_u8(address_8250(register), value);
}

/// Sends a byte.
pub(crate) fn send(byte: u8) {
    match KIND.load(Ordering::Relaxed) {
        NS16550A => {
            for _ in 0..MAX_POLLS {
                if read_8250(ns16550a::LINE_STATUS) & ns16550a::TRANSMITTER_EMPTY != 0 {
                    break;
                }
            }
            write_8250(ns16550a::DATA, byte);
        }
        PL011 => {
            for _ in 0..MAX_POLLS {
                if arch::read_u32(base().saturating_add(pl011::FLAGS)) & pl011::TRANSMIT_FULL == 0 {
                    break;
                }
            }
            arch::write_u32(base().saturating_add(pl011::DATA), byte.into());
        }
        _ => arch::firmware_send(byte),
    }
}

/// The next received byte, if there is one.
pub(crate) fn receive() -> Option<u8> {
    match KIND.load(Ordering::Relaxed) {
        NS16550A => {
            let ready = read_8250(ns16550a::LINE_STATUS) & ns16550a::DATA_READY != 0;
            ready.then(|| read_8250(ns16550a::DATA))
        }
        PL011 => {
            let flags = arch::read_u32(base().saturating_add(pl011::FLAGS));
            let ready = flags & pl011::RECEIVE_EMPTY == 0;
            ready.then(|| arch::read_u32(base().saturating_add(pl011::DATA)).to_le_bytes()[0])
        }
        _ => None,
    }
}

/// Enables the receive interrupt. Returns whether there is a serial port.
pub(crate) fn interrupt_on_receive() -> bool {
    match KIND.load(Ordering::Relaxed) {
        NS16550A => {
            write_8250(ns16550a::MODEM_CONTROL, 0x0b);
            write_8250(ns16550a::INTERRUPT_ENABLE, 1);
        }
        PL011 => arch::write_u32(
            base().saturating_add(pl011::INTERRUPT_MASK),
            pl011::RECEIVE_INTERRUPT,
        ),
        _ => return false,
    }
    true
}
