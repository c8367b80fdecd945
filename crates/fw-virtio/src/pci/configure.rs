//! Numbers of buses and addresses of BARs, where nobody assigned them (PCI Local Bus Specification 3.0, chapter 6; PCI-to-PCI Bridge
//! Architecture Specification 1.2, chapter 3).

use alloc::vec::Vec;

use super::{ConfigurationAccess, DeviceFunction};

/// Offsets of registers in the configuration space.
mod register {
    pub(super) const ID: u8 = 0x00;
    pub(super) const COMMAND: u8 = 0x04;
    pub(super) const HEADER_TYPE: u8 = 0x0c;
    pub(super) const BAR0: u8 = 0x10;
    /// Of bridges: primary, secondary and subordinate bus.
    pub(super) const BUSES: u8 = 0x18;
    /// Of bridges: base and limit of the memory window.
    pub(super) const MEMORY_WINDOW: u8 = 0x20;
    /// Of bridges: base and limit of the prefetchable memory window.
    pub(super) const PREFETCHABLE_WINDOW: u8 = 0x24;
}

/// Bits of the command register: memory space, bus master.
const MEMORY_AND_BUS_MASTER: u32 = 0b110;
/// A function with several functions in its device.
const MULTIFUNCTION: u32 = 0x80;
/// Types of headers.
const STANDARD: u32 = 0;
const BRIDGE: u32 = 1;
/// Unit of the memory windows of bridges.
const BRIDGE_UNIT: u64 = 1 << 20;
/// A window of a bridge that contains nothing: the limit is below the base.
const NO_WINDOW: u32 = 0x0000_fff0;

/// Free addresses for BARs, below 4 GiB. PCI addresses are those of the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarWindow {
    next: u64,
    end: u64,
}

impl BarWindow {
    /// No addresses: BARs without an address stay without one.
    pub const EMPTY: Self = Self { next: 0, end: 0 };

    /// The addresses from `start` to `end`, which is not part of it. What is above 4 GiB is not used.
    #[must_use]
    pub const fn new(start: u64, end: u64) -> Self {
        let limit = 1 << 32;
        let end = if end < limit { end } else { limit };
        Self { next: start, end }
    }

    /// Takes `size` bytes, aligned to their size, which is a power of two.
    fn take(&mut self, size: u64) -> Option<u64> {
        let start = self.next.checked_next_multiple_of(size)?;
        let end = start.checked_add(size)?;
        // A BAR with the address 0 has none.
        let fits = end <= self.end && start != 0;
        fits.then(|| {
            self.next = end;
            start
        })
    }

    /// Continues at a multiple of `unit`.
    fn align(&mut self, unit: u64) {
        self.next = self.next.checked_next_multiple_of(unit).unwrap_or(self.end);
    }
}

/// A function of a PCI device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Function {
    /// Its address.
    pub at: DeviceFunction,
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
}

/// Finds the functions of all buses, gives numbers to buses without one, and addresses to the memory BARs of virtio devices without one.
///
/// What other software assigned before stays.
pub fn configure<C: ConfigurationAccess>(config: &mut C, window: &mut BarWindow) -> Vec<Function> {
    let mut scan = Scan {
        config,
        window,
        last_bus: 0,
        visited: [false; 256],
        found: Vec::new(),
    };
    scan.bus(0);
    scan.found
}

struct Scan<'a, C> {
    config: &'a mut C,
    window: &'a mut BarWindow,
    /// Largest number of a bus.
    last_bus: u8,
    /// Buses that were scanned: a bridge that repeats a number ends there.
    visited: [bool; 256],
    found: Vec<Function>,
}

impl<C: ConfigurationAccess> Scan<'_, C> {
    fn bus(&mut self, bus: u8) {
        let Some(visited) = self.visited.get_mut(usize::from(bus)) else {
            return;
        };
        if core::mem::replace(visited, true) {
            return;
        }
        self.last_bus = self.last_bus.max(bus);
        for device in 0..32 {
            for function in 0..8 {
                let at = DeviceFunction {
                    bus,
                    device,
                    function,
                };
                let header = self.function(at);
                // Function 0 exists in every device, and tells whether there are others.
                if function == 0 && header.is_none_or(|header| header & MULTIFUNCTION == 0) {
                    break;
                }
            }
        }
    }

    /// Returns the type of the header.
    fn function(&mut self, at: DeviceFunction) -> Option<u32> {
        let id = self.config.read_word(at, register::ID);
        let [vendor, device] = halves(id);
        if vendor == 0xffff {
            return None;
        }
        let function = Function { at, vendor, device };
        let header = self.config.read_word(at, register::HEADER_TYPE) >> 16 & 0xff;
        match header & !MULTIFUNCTION {
            STANDARD => {
                if function.is_virtio() {
                    self.bars(at);
                }
                self.found.push(function);
            }
            BRIDGE => self.bridge(at),
            _ => {}
        }
        Some(header)
    }

    fn bridge(&mut self, at: DeviceFunction) {
        let buses = self.config.read_word(at, register::BUSES);
        let [_, secondary, ..] = buses.to_le_bytes();
        if secondary != 0 {
            self.bus(secondary);
            return;
        }
        let Some(secondary) = self.last_bus.checked_add(1) else {
            return;
        };
        let [.., latency] = buses.to_le_bytes();
        let number = |subordinate| u32::from_le_bytes([at.bus, secondary, subordinate, latency]);
        self.config.write_word(at, register::BUSES, number(u8::MAX));
        self.window.align(BRIDGE_UNIT);
        let start = self.window.next;
        self.bus(secondary);
        self.window.align(BRIDGE_UNIT);
        let end = self.window.next;
        self.config.write_word(at, register::BUSES, number(self.last_bus));
        let memory = window_register(start, end).unwrap_or(NO_WINDOW);
        self.config.write_word(at, register::MEMORY_WINDOW, memory);
        self.config
            .write_word(at, register::PREFETCHABLE_WINDOW, NO_WINDOW);
        self.enable(at);
    }

    /// Gives addresses to the memory BARs that have none.
    fn bars(&mut self, at: DeviceFunction) {
        let mut index = 0;
        while index < 6 {
            let is_64_bit = self.bar(at, index);
            index = index.saturating_add(if is_64_bit { 2 } else { 1 });
        }
        self.enable(at);
    }

    /// Returns whether the BAR has 64 bits.
    fn bar(&mut self, at: DeviceFunction, index: u8) -> bool {
        let low = register::BAR0.saturating_add(index.saturating_mul(4));
        let old = self.config.read_word(at, low);
        let is_64_bit = old & 0b111 == 0b100 && index < 5;
        let high = low.saturating_add(4);
        let old_high = if is_64_bit {
            self.config.read_word(at, high)
        } else {
            0
        };
        // Bit 0: I/O space.
        if old & 1 != 0 || old & !0xf != 0 || old_high != 0 {
            return is_64_bit;
        }
        self.config.write_word(at, low, u32::MAX);
        let sizing = self.config.read_word(at, low) & !0xf;
        self.config.write_word(at, low, old);
        // The lowest address bit that can be set; 64-bit BARs of 4 GiB and more do not fit the window.
        let size = sizing & sizing.wrapping_neg();
        if size != 0
            && let Some(addr) = self.window.take(size.into())
            && let Ok(addr) = u32::try_from(addr)
        {
            self.config.write_word(at, low, addr);
        }
        is_64_bit
    }

    fn enable(&mut self, at: DeviceFunction) {
        let [command, _status] = halves(self.config.read_word(at, register::COMMAND));
        // Writing zeros to the status register changes nothing.
        let command = u32::from(command) | MEMORY_AND_BUS_MASTER;
        self.config.write_word(at, register::COMMAND, command);
    }
}

/// Lower and upper half of a register.
fn halves(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_le_bytes();
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}

/// Base and limit of a window of a bridge from `start` to `end`, which are multiples of 1 MiB; `None` if it is empty.
fn window_register(start: u64, end: u64) -> Option<u32> {
    let last = end.checked_sub(1).filter(|last| *last >= start)?;
    let unit = |addr: u64| u32::try_from(addr >> 20).ok();
    Some(unit(start)? << 4 | unit(last)? << 20)
}

#[cfg(test)]
mod tests;
