//! The memory of the firmware, and what is mapped.
#![cfg_attr(
    target_os = "none",
    expect(unsafe_code, reason = "symbols of the linker script")
)]

use alloc::vec::Vec;

use boot_core::GuestRange;
use boot_paging::{Access, Attributes};
use fw_runtime::without;

use crate::hardware::Hardware;
use crate::pages::PAGE;

/// The parts of the firmware's memory, which follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Code.
    pub code: GuestRange,
    /// Constants.
    pub constants: GuestRange,
    /// Static variables.
    pub variables: GuestRange,
    /// What is needed up to the start of a kernel: page tables, stack and heap.
    pub boot: GuestRange,
    /// A part of [`boot`](Self::boot) that is not mapped, below the stack.
    pub guard: GuestRange,
}

#[cfg(target_os = "none")]
unsafe extern "C" {
    static image_start: u8;
    static __rodata_start: u8;
    static __data_start: u8;
    static __runtime_end: u8;
    static __guard_start: u8;
    static __guard_end: u8;
    static __image_end: u8;
}

impl Layout {
    /// That of `image.ld`.
    #[cfg(target_os = "none")]
    #[must_use]
    pub fn of_image() -> Self {
        use fw_runtime::between;
        let [start, constants] = [&raw const image_start, &raw const __rodata_start];
        let [variables, boot] = [&raw const __data_start, &raw const __runtime_end];
        Self {
            code: between(start, constants),
            constants: between(constants, variables),
            variables: between(variables, boot),
            boot: between(boot, &raw const __image_end),
            guard: between(&raw const __guard_start, &raw const __guard_end),
        }
    }

    /// All of it.
    #[must_use]
    pub fn whole(&self) -> GuestRange {
        self.code.span(self.boot)
    }

    /// What is mapped: all RAM but what the tree reserves with `no-map`, and the registers of devices, at their physical addresses.
    ///
    /// ```text
    /// code of the firmware          read, execute
    /// constants of the firmware     read
    /// other RAM                     read, write
    /// registers of devices          read, write, as device memory
    /// ```
    #[must_use]
    pub fn mappings(&self, hardware: &Hardware) -> Vec<(GuestRange, Attributes)> {
        let own = [
            (self.code, Access::EXECUTE),
            (self.constants, Access::empty()),
            (self.variables, Access::WRITE),
        ];
        let own = own.map(|(range, access)| (range, Attributes::normal(access)));
        let mut mappings: Vec<_> = own.into_iter().collect();
        let boot = without(self.boot, self.guard);
        let others = hardware.mapped_ram(self.whole());
        let writable = boot.chain(others);
        mappings.extend(writable.map(|range| (range, Attributes::normal(Access::WRITE))));
        let devices = hardware.device_ranges();
        let mut devices: Vec<_> = devices.filter_map(|range| range.aligned_out(PAGE)).collect();
        devices.sort_unstable_by_key(|range| range.start());
        devices.dedup_by(|later, earlier| {
            let touches = later.start() <= earlier.end();
            if touches {
                *earlier = earlier.span(*later);
            }
            touches
        });
        mappings.extend(devices.into_iter().map(|range| (range, Attributes::DEVICE)));
        mappings.retain(|(range, _)| !range.is_empty());
        mappings
    }
}

#[cfg(test)]
mod tests {
    use boot_core::{MemoryMap, RegionKind};
    use proto_fdt::ReservedRange;

    use super::*;

    fn range(start: u64, end: u64) -> GuestRange {
        GuestRange::from_bounds(start, end).unwrap()
    }

    #[test]
    fn the_firmware_is_protected_and_holes_are_not_mapped() {
        let layout = Layout {
            code: range(0x20_0000, 0x21_0000),
            constants: range(0x21_0000, 0x22_0000),
            variables: range(0x22_0000, 0x23_0000),
            boot: range(0x23_0000, 0x30_0000),
            guard: range(0x24_0000, 0x24_1000),
        };
        let mut memory = MemoryMap::new();
        memory
            .insert(range(0x10_0800, 0x40_0000), RegionKind::Ram)
            .unwrap();
        let mut hardware = Hardware::new(memory);
        hardware.reserved = [
            ReservedRange::new(range(0x11_0000, 0x11_0800), true),
            ReservedRange::new(range(0x12_0000, 0x12_1000), false),
        ]
        .into();
        hardware.virtio_mmio = [
            range(0x1200, 0x1400),
            range(0x1000, 0x1200),
            range(0x5000, 0x5200),
        ]
        .into();
        let [read, write, execute] =
            [Access::empty(), Access::WRITE, Access::EXECUTE].map(Attributes::normal);
        let expected = [
            (range(0x20_0000, 0x21_0000), execute),
            (range(0x21_0000, 0x22_0000), read),
            (range(0x22_0000, 0x23_0000), write),
            (range(0x23_0000, 0x24_0000), write),
            (range(0x24_1000, 0x30_0000), write),
            (range(0x10_1000, 0x11_0000), write),
            (range(0x11_1000, 0x20_0000), write),
            (range(0x30_0000, 0x40_0000), write),
            (range(0x1000, 0x2000), Attributes::DEVICE),
            (range(0x5000, 0x6000), Attributes::DEVICE),
        ];
        assert_eq!(layout.mappings(&hardware), expected);
    }
}
