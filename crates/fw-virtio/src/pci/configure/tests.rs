//! Simulated configuration spaces.

use std::collections::BTreeMap;
use std::vec;

use super::*;

/// Functions with sizes of BARs. Registers that were not written read as zero.
#[derive(Default)]
struct Space {
    functions: BTreeMap<DeviceFunction, Registers>,
}

#[derive(Default)]
struct Registers {
    words: BTreeMap<u8, u32>,
    /// Bits of BARs that can be written.
    masks: BTreeMap<u8, u32>,
}

const fn at(bus: u8, device: u8, function: u8) -> DeviceFunction {
    DeviceFunction {
        bus,
        device,
        function,
    }
}

impl Space {
    /// Adds a function with registers and masks of BARs.
    fn add(&mut self, at: DeviceFunction, words: &[(u8, u32)], masks: &[(u8, u32)]) {
        let registers = Registers {
            words: words.iter().copied().collect(),
            masks: masks.iter().copied().collect(),
        };
        self.functions.insert(at, registers);
    }

    fn word(&self, at: DeviceFunction, register: u8) -> u32 {
        let registers = &self.functions[&at];
        registers.words.get(&register).copied().unwrap_or(0)
    }

    /// The address by which the buses are reached: bridges forward it if it is in their range.
    fn is_reachable(&self, bus: u8) -> bool {
        bus == 0
            || self.functions.iter().any(|(parent, registers)| {
                let [_, secondary, subordinate, _] = registers
                    .words
                    .get(&register::BUSES)
                    .copied()
                    .unwrap_or(0)
                    .to_le_bytes();
                let is_bridge = registers.words.get(&register::HEADER_TYPE) == Some(&(1 << 16));
                is_bridge
                    && secondary != 0
                    && (secondary..=subordinate).contains(&bus)
                    && parent.bus < bus
                    && self.is_reachable(parent.bus)
            })
    }
}

impl ConfigurationAccess for Space {
    fn read_word(&self, at: DeviceFunction, register: u8) -> u32 {
        if !self.is_reachable(at.bus) || !self.functions.contains_key(&at) {
            return u32::MAX;
        }
        self.word(at, register)
    }

    fn write_word(&mut self, at: DeviceFunction, register: u8, data: u32) {
        let registers = self.functions.get_mut(&at).unwrap();
        let old = registers.words.get(&register).copied().unwrap_or(0);
        let is_bridge = registers.words.get(&register::HEADER_TYPE) == Some(&(1 << 16));
        let mut mask = registers.masks.get(&register).copied();
        if !is_bridge && (0x10..0x28).contains(&register) {
            // BARs that the function lacks are zero.
            mask = mask.or(Some(0));
        }
        let new = mask.map_or(data, |mask| data & mask | old & 0xf);
        registers.words.insert(register, new);
    }

    #[expect(unsafe_code, reason = "part of the trait")]
    unsafe fn unsafe_clone(&self) -> Self {
        unreachable!("nothing clones it")
    }
}

const DISK: u32 = 0x1042_1af4;
const NETWORK: u32 = 0x1041_1af4;
const OTHER: u32 = 0x1234_8086;

#[test]
fn bars_without_an_address_get_one() {
    let mut space = Space::default();
    // A 32-bit BAR of 4 KiB and a 64-bit BAR of 16 KiB.
    let bars = [(0x14, 0xffff_f000), (0x20, 0xffff_c000), (0x24, u32::MAX)];
    space.add(at(0, 1, 0), &[(0, DISK), (0x20, 0b1100)], &bars);
    // Other vendors' devices, and BARs that have an address, stay as they are.
    space.add(at(0, 2, 0), &[(0, OTHER)], &bars);
    space.add(
        at(0, 3, 0),
        &[(0, NETWORK), (0x14, 0xfeb0_0000), (4, 0x0010_0107)],
        &bars,
    );
    let mut window = BarWindow::new(0x1000_0800, 0x2000_0000);
    let found = configure(&mut space, &mut window);
    let ids: Vec<_> = found
        .iter()
        .map(|f| (f.at.device, f.is_disk(), f.is_virtio()))
        .collect();
    assert_eq!(ids, [(1, true, true), (2, false, false), (3, false, true)]);
    assert_eq!(space.word(at(0, 1, 0), 0x14), 0x1000_1000);
    assert_eq!(space.word(at(0, 1, 0), 0x20), 0x1000_4000 | 0b1100);
    assert_eq!(space.word(at(0, 1, 0), 0x24), 0);
    assert_eq!(space.word(at(0, 1, 0), 4), 0b110);
    assert_eq!(
        (space.word(at(0, 2, 0), 0x14), space.word(at(0, 2, 0), 4)),
        (0, 0)
    );
    assert_eq!(space.word(at(0, 3, 0), 0x14), 0xfeb0_0000);
    assert_eq!(
        space.word(at(0, 3, 0), 4),
        0x107,
        "bits of the command stay, those of the status are not written"
    );
}

#[test]
fn a_full_window_leaves_bars_without_an_address() {
    let mut space = Space::default();
    space.add(
        at(0, 1, 0),
        &[(0, DISK)],
        &[(0x10, 0xffff_0000), (0x14, 0xffff_f000)],
    );
    let mut window = BarWindow::new(0x1000_1000, 0x1000_3000);
    configure(&mut space, &mut window);
    assert_eq!(space.word(at(0, 1, 0), 0x10), 0);
    assert_eq!(space.word(at(0, 1, 0), 0x14), 0x1000_1000);
    let mut empty = BarWindow::EMPTY;
    assert_eq!(empty.take(0x1000), None);
    assert_eq!(BarWindow::new(0xffff_f000, u64::MAX).take(0x2000), None);
}

#[test]
fn bridges_without_numbers_get_numbers_and_windows() {
    let mut space = Space::default();
    let bridge = [(0, OTHER), (register::HEADER_TYPE, 1 << 16)];
    let bars = [(0x14, 0xffff_f000)];
    space.add(at(0, 2, 0), &bridge, &[]);
    space.add(at(1, 0, 0), &bridge, &[]);
    space.add(at(2, 0, 0), &[(0, DISK)], &bars);
    space.add(at(0, 3, 0), &bridge, &[]);
    space.add(
        at(3, 0, 0),
        &[(0, DISK), (register::HEADER_TYPE, 0x80 << 16)],
        &bars,
    );
    space.add(at(3, 0, 5), &[(0, NETWORK)], &bars);
    let mut window = BarWindow::new(0x1000_1000, 0x2000_0000);
    let found: Vec<_> = configure(&mut space, &mut window).iter().map(|f| f.at).collect();
    assert_eq!(found, [at(2, 0, 0), at(3, 0, 0), at(3, 0, 5)]);
    let buses = [at(0, 2, 0), at(1, 0, 0), at(0, 3, 0)].map(|bridge| space.word(bridge, register::BUSES));
    assert_eq!(buses, [0x0002_0100, 0x0002_0201, 0x0003_0300]);
    assert_eq!(space.word(at(2, 0, 0), 0x14), 0x1010_0000);
    assert_eq!(space.word(at(0, 2, 0), register::MEMORY_WINDOW), 0x1010_1010);
    assert_eq!(space.word(at(1, 0, 0), register::MEMORY_WINDOW), 0x1010_1010);
    assert_eq!(space.word(at(0, 3, 0), register::MEMORY_WINDOW), 0x1020_1020);
    assert_eq!(space.word(at(3, 0, 5), 0x14), 0x1020_1000);
}

#[test]
fn bridges_that_repeat_a_bus_end() {
    let mut space = Space::default();
    let bridge = |secondary: u32| {
        vec![
            (0, OTHER),
            (register::HEADER_TYPE, 1 << 16),
            (register::BUSES, 0xff_0000 | secondary << 8),
        ]
    };
    space.add(at(0, 2, 0), &bridge(1), &[]);
    space.add(at(1, 0, 0), &bridge(1), &[]);
    space.add(at(1, 1, 0), &[(0, DISK)], &[]);
    let found: Vec<_> = configure(&mut space, &mut { BarWindow::EMPTY })
        .iter()
        .map(|f| f.at)
        .collect();
    assert_eq!(found, [at(1, 1, 0)]);
}

#[test]
fn an_empty_window_of_a_bridge_contains_nothing() {
    assert_eq!(window_register(0x1000_0000, 0x1000_0000), None);
    assert_eq!(window_register(0, 0), None);
    assert_eq!(window_register(0xfff0_0000, 0x1_0000_0000), Some(0xfff0_fff0));
}
