//! The guest's physical memory map.

use alloc::vec::Vec;
use core::fmt;

use crate::{ByteCount, GuestRange, arith};

/// Type of a region of guest physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum RegionKind {
    /// Ordinary memory.
    Ram,
    /// Not usable by the guest: firmware, devices, or memory in other use.
    Reserved,
    /// ACPI tables; ordinary memory once the guest has read them.
    AcpiReclaimable,
    /// ACPI non-volatile storage: not usable by the guest, which saves and restores it across sleep.
    AcpiNvs,
    /// Memory in which errors have been detected.
    Unusable,
    /// Persistent memory.
    Persistent,
}

impl RegionKind {
    /// The name in drawings and machine-readable output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ram => "ram",
            Self::Reserved => "reserved",
            Self::AcpiReclaimable => "acpi-reclaimable",
            Self::AcpiNvs => "acpi-nvs",
            Self::Unusable => "unusable",
            Self::Persistent => "persistent",
        }
    }

    /// Its address range type in e820 tables and PVH memory maps (ACPI 6.5, chapter 15, "Address Range Types").
    #[must_use]
    pub const fn e820_type(self) -> u32 {
        match self {
            Self::Ram => 1,
            Self::Reserved => 2,
            Self::AcpiReclaimable => 3,
            Self::AcpiNvs => 4,
            Self::Unusable => 5,
            Self::Persistent => 7,
        }
    }

    /// The kind of an address range type; [`Reserved`](Self::Reserved) for types that are not known, as the ACPI specification demands.
    #[must_use]
    pub const fn from_e820_type(e820_type: u32) -> Self {
        match e820_type {
            1 => Self::Ram,
            3 => Self::AcpiReclaimable,
            4 => Self::AcpiNvs,
            5 => Self::Unusable,
            7 => Self::Persistent,
            _ => Self::Reserved,
        }
    }
}

impl fmt::Display for RegionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A region of guest physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MemoryRegion {
    /// Its addresses; not empty in a map.
    pub range: GuestRange,
    /// Its type.
    pub kind: RegionKind,
}

/// A map of guest physical memory: sorted regions without overlaps. Adjacent regions of one kind are merged.
///
/// Protocols place loads in its RAM and generate from it what the guest gets: the e820 table, the PVH memory map or the
/// memory nodes of the device tree. Addresses of devices are not listed, except as reserved regions.
///
/// ```
/// use boot_core::{GuestRange, MemoryMap, RegionKind};
///
/// // 512 MiB of RAM at 1 GiB, as on many arm64 machines; the last 2 MiB are reserved.
/// let mut map = MemoryMap::new();
/// map.insert(GuestRange::new(1 << 30, 512 << 20).unwrap(), RegionKind::Ram)?;
/// map.reserve(GuestRange::new(0x5fe0_0000, 2 << 20).unwrap(), RegionKind::Reserved)?;
/// assert_eq!(map.ram_len(), 510 << 20);
/// # Ok::<(), boot_core::MemoryMapError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "crate::serialize::Regions")
)]
pub struct MemoryMap {
    regions: Vec<MemoryRegion>,
}

/// Why a memory map cannot be created or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryMapError {
    /// A region without bytes.
    #[error("the region at {:#x} is empty", .0.start())]
    Empty(GuestRange),
    /// A region that overlaps another one.
    #[error("the region {new} overlaps the {} region {}", present.kind, present.range)]
    Overlap {
        /// The region to add.
        new: GuestRange,
        /// The region in the map.
        present: MemoryRegion,
    },
    /// A reservation outside RAM.
    #[error("{0} is not inside RAM and cannot be reserved")]
    NotRam(GuestRange),
    /// Less RAM than the machine needs.
    #[error("{} of RAM is too little: at least {} is needed", ByteCount(*.len), ByteCount(*.min))]
    TooSmall {
        /// The size in bytes.
        len: u64,
        /// The smallest size in bytes.
        min: u64,
    },
    /// More RAM than the address space has room for.
    #[error("{} of RAM does not fit in the guest physical address space", ByteCount(*.len))]
    TooLarge {
        /// The size in bytes.
        len: u64,
    },
    /// A size that is not a whole number of pages.
    #[error("{len} bytes of RAM is not a multiple of the page size, 4 KiB")]
    Unaligned {
        /// The size in bytes.
        len: u64,
    },
}

/// Addresses of the PC memory layout of [`MemoryMap::pc`].
///
/// ```text
///  0x0000_0000 ─ RAM ─────────────────────────────
///  0x000a_0000 ─ video memory, option ROMs, BIOS ─   reserved
///  0x0010_0000 ─ RAM ─────────────────────────────
///  0xc000_0000 ─ hole for devices ────────────────
///  0xfec0_0000 ─ I/O APIC, local APIC, firmware ──   reserved
/// 0x1_0000_0000 ─ the rest of RAM ────────────────
/// ```
pub mod pc {
    /// End of conventional memory.
    pub const LOW_RAM_END: u64 = 0xa_0000;
    /// Start of RAM above the BIOS area.
    pub const HIGH_RAM_START: u64 = 0x10_0000;
    /// Start of the hole for devices below 4 GiB, in which there is no RAM.
    pub const DEVICE_HOLE_START: u64 = 0xc000_0000;
    /// Start of the reserved region below 4 GiB: I/O APIC, local APIC and firmware.
    pub const PLATFORM_START: u64 = 0xfec0_0000;
    /// 4 GiB: start of the RAM that does not fit below the hole.
    pub const ABOVE_4G: u64 = 0x1_0000_0000;
}

impl MemoryMap {
    /// An empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self { regions: Vec::new() }
    }

    /// The map of a PC with `len` bytes of RAM; see [`pc`] for the layout.
    ///
    /// As on a PC, `len` includes the addresses from 640 KiB to 1 MiB, which are not usable as RAM.
    ///
    /// # Errors
    ///
    /// [`MemoryMapError`] where `len` is below 2 MiB, not a multiple of 4 KiB, or too large for the address space.
    pub fn pc(len: u64) -> Result<Self, MemoryMapError> {
        const MIN: u64 = 0x20_0000;
        if len < MIN {
            return Err(MemoryMapError::TooSmall { len, min: MIN });
        }
        if arith::align_down(len, 0x1000) != len {
            return Err(MemoryMapError::Unaligned { len });
        }
        let too_large = MemoryMapError::TooLarge { len };
        let below = |start, end| GuestRange::from_bounds(start, end).ok_or(too_large);
        let mut map = Self::new();
        map.insert(below(0, pc::LOW_RAM_END)?, RegionKind::Ram)?;
        map.insert(below(pc::LOW_RAM_END, pc::HIGH_RAM_START)?, RegionKind::Reserved)?;
        map.insert(
            below(pc::HIGH_RAM_START, len.min(pc::DEVICE_HOLE_START))?,
            RegionKind::Ram,
        )?;
        map.insert(below(pc::PLATFORM_START, pc::ABOVE_4G)?, RegionKind::Reserved)?;
        match len.checked_sub(pc::DEVICE_HOLE_START) {
            None | Some(0) => {}
            Some(rest) => {
                map.insert(
                    GuestRange::new(pc::ABOVE_4G, rest).ok_or(too_large)?,
                    RegionKind::Ram,
                )?;
            }
        }
        Ok(map)
    }

    /// Adds a region. It must not overlap another one; [`reserve`](Self::reserve) changes a part of RAM.
    ///
    /// # Errors
    ///
    /// [`MemoryMapError::Empty`] or [`MemoryMapError::Overlap`]; the map is then unchanged.
    pub fn insert(&mut self, range: GuestRange, kind: RegionKind) -> Result<(), MemoryMapError> {
        if range.is_empty() {
            return Err(MemoryMapError::Empty(range));
        }
        if let Some(present) = self.regions.iter().find(|region| region.range.overlaps(range)) {
            return Err(MemoryMapError::Overlap {
                new: range,
                present: *present,
            });
        }
        self.regions.push(MemoryRegion { range, kind });
        self.normalize();
        Ok(())
    }

    /// Turns a part of the RAM into a region of another kind.
    ///
    /// # Errors
    ///
    /// [`MemoryMapError::Empty`], or [`MemoryMapError::NotRam`] where not all of `range` is RAM; the map is
    /// then unchanged.
    pub fn reserve(&mut self, range: GuestRange, kind: RegionKind) -> Result<(), MemoryMapError> {
        if range.is_empty() {
            return Err(MemoryMapError::Empty(range));
        }
        let ram = self
            .regions
            .iter()
            .position(|region| region.kind == RegionKind::Ram && region.range.contains(range))
            .ok_or(MemoryMapError::NotRam(range))?;
        let whole = self.regions.swap_remove(ram).range;
        let before = GuestRange::from_bounds(whole.start(), range.start());
        let after = GuestRange::from_bounds(range.end(), whole.end());
        for rest in [before, after]
            .into_iter()
            .flatten()
            .filter(|rest| !rest.is_empty())
        {
            self.regions.push(MemoryRegion {
                range: rest,
                kind: RegionKind::Ram,
            });
        }
        self.regions.push(MemoryRegion { range, kind });
        self.normalize();
        Ok(())
    }

    fn normalize(&mut self) {
        self.regions.sort_unstable();
        self.regions.dedup_by(|later, earlier| {
            let touch = earlier.kind == later.kind && earlier.range.end() == later.range.start();
            if touch {
                earlier.range = earlier.range.span(later.range);
            }
            touch
        });
    }

    /// The regions, sorted by address.
    #[must_use]
    pub fn regions(&self) -> &[MemoryRegion] {
        &self.regions
    }

    /// The ranges of RAM, sorted by address.
    #[must_use]
    pub fn ram(&self) -> impl DoubleEndedIterator<Item = GuestRange> + '_ {
        self.regions
            .iter()
            .filter(|region| region.kind == RegionKind::Ram)
            .map(|region| region.range)
    }

    /// The total size of the RAM in bytes.
    #[must_use]
    pub fn ram_len(&self) -> u64 {
        self.ram().fold(0, |sum, range| sum.saturating_add(range.len()))
    }

    /// The address after the last byte of RAM, or `None` without RAM.
    #[must_use]
    pub fn ram_end(&self) -> Option<u64> {
        self.ram().next_back().map(GuestRange::end)
    }

    /// Whether every byte of `range` is RAM.
    #[must_use]
    pub fn is_ram(&self, range: GuestRange) -> bool {
        self.is_kind(range, RegionKind::Ram)
    }

    /// Whether every byte of `range` is in a region of this kind.
    #[must_use]
    pub fn is_kind(&self, range: GuestRange, kind: RegionKind) -> bool {
        // Only the first region that does not end before `range` can contain it.
        let index = self
            .regions
            .partition_point(|region| region.range.end() < range.end());
        self.regions
            .get(index)
            .is_some_and(|region| region.kind == kind && region.range.contains(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> GuestRange {
        GuestRange::from_bounds(start, end).unwrap()
    }

    fn list(map: &MemoryMap) -> Vec<(u64, u64, RegionKind)> {
        map.regions()
            .iter()
            .map(|region| (region.range.start(), region.range.end(), region.kind))
            .collect()
    }

    #[test]
    fn the_pc_layout() {
        use RegionKind::{Ram, Reserved};
        let check = |len, high: &[(u64, u64, RegionKind)]| {
            let mut expected = std::vec![(0, 0xa_0000, Ram), (0xa_0000, 0x10_0000, Reserved)];
            expected.extend_from_slice(high);
            assert_eq!(list(&MemoryMap::pc(len).unwrap()), expected, "{len:#x}");
        };
        let platform = (0xfec0_0000, 0x1_0000_0000, Reserved);
        check(0x20_0000, &[(0x10_0000, 0x20_0000, Ram), platform]);
        check(0xc000_0000, &[(0x10_0000, 0xc000_0000, Ram), platform]);
        check(
            0xc000_1000,
            &[
                (0x10_0000, 0xc000_0000, Ram),
                platform,
                (0x1_0000_0000, 0x1_0000_1000, Ram),
            ],
        );
        for bad in [0, 0x1f_f000, 0x20_0001, u64::MAX - 0xfff] {
            assert!(MemoryMap::pc(bad).is_err(), "{bad:#x}");
        }
    }

    #[test]
    fn neighbours_merge_and_overlaps_are_refused() {
        let mut map = MemoryMap::new();
        map.insert(range(0x2000, 0x3000), RegionKind::Ram).unwrap();
        map.insert(range(0x1000, 0x2000), RegionKind::Ram).unwrap();
        map.insert(range(0x3000, 0x4000), RegionKind::Reserved).unwrap();
        assert_eq!(
            list(&map),
            [
                (0x1000, 0x3000, RegionKind::Ram),
                (0x3000, 0x4000, RegionKind::Reserved)
            ]
        );
        let before = map.clone();
        assert!(matches!(
            map.insert(range(0x3fff, 0x5000), RegionKind::Ram),
            Err(MemoryMapError::Overlap { .. })
        ));
        assert!(matches!(
            map.insert(range(0, 0), RegionKind::Ram),
            Err(MemoryMapError::Empty(_))
        ));
        assert_eq!(map, before);
    }

    #[test]
    fn reservations_split_ram() {
        let mut map = MemoryMap::new();
        map.insert(range(0, 0x10000), RegionKind::Ram).unwrap();
        map.reserve(range(0x4000, 0x5000), RegionKind::AcpiReclaimable)
            .unwrap();
        map.reserve(range(0, 0x1000), RegionKind::Reserved).unwrap();
        assert_eq!(
            list(&map),
            [
                (0, 0x1000, RegionKind::Reserved),
                (0x1000, 0x4000, RegionKind::Ram),
                (0x4000, 0x5000, RegionKind::AcpiReclaimable),
                (0x5000, 0x10000, RegionKind::Ram),
            ]
        );
        assert_eq!(map.ram_len(), 0xe000);
        let check = |start, end, expected| {
            assert_eq!(map.is_ram(range(start, end)), expected, "{start:#x}..{end:#x}");
        };
        check(0, 0x1000, false);
        check(0xfff, 0x1001, false);
        check(0x1000, 0x4000, true);
        check(0x3000, 0x4001, false);
        check(0x4000, 0x5000, false);
        check(0x5000, 0x10000, true);
        check(0xffff, 0x10001, false);
        check(0x20000, 0x20001, false);
        let error = map
            .reserve(range(0x3000, 0x4001), RegionKind::Reserved)
            .unwrap_err();
        assert_eq!(error, MemoryMapError::NotRam(range(0x3000, 0x4001)));
    }

    #[test]
    fn kinds_have_names_and_e820_types() {
        let check = |kind: RegionKind, name, e820_type| {
            assert_eq!((kind.name(), kind.e820_type()), (name, e820_type));
            assert_eq!(std::format!("{kind}"), name);
            assert_eq!(RegionKind::from_e820_type(e820_type), kind);
        };
        check(RegionKind::Ram, "ram", 1);
        check(RegionKind::Reserved, "reserved", 2);
        check(RegionKind::AcpiReclaimable, "acpi-reclaimable", 3);
        check(RegionKind::AcpiNvs, "acpi-nvs", 4);
        check(RegionKind::Unusable, "unusable", 5);
        check(RegionKind::Persistent, "persistent", 7);
    }

    #[test]
    fn ram_is_listed_and_summed() {
        let mut map = MemoryMap::new();
        assert_eq!((map.ram_len(), map.ram_end(), map.ram().count()), (0, None, 0));
        map.insert(range(0x1000, 0x3000), RegionKind::Ram).unwrap();
        map.insert(range(0x8000, 0x9000), RegionKind::Ram).unwrap();
        map.insert(range(0x9000, 0xa000), RegionKind::Reserved).unwrap();
        assert_eq!((map.ram_len(), map.ram_end()), (0x3000, Some(0x9000)));
        let ram: Vec<_> = map.ram().collect();
        assert_eq!(ram, [range(0x1000, 0x3000), range(0x8000, 0x9000)]);
    }

    #[test]
    fn reservations_at_both_ends_leave_no_empty_region() {
        let mut map = MemoryMap::new();
        map.insert(range(0, 0x3000), RegionKind::Ram).unwrap();
        assert_eq!(
            map.reserve(range(0x1000, 0x1000), RegionKind::Reserved),
            Err(MemoryMapError::Empty(range(0x1000, 0x1000)))
        );
        map.reserve(range(0, 0x3000), RegionKind::Reserved).unwrap();
        assert_eq!(list(&map), [(0, 0x3000, RegionKind::Reserved)]);
        assert!(map.reserve(range(0, 0x1000), RegionKind::AcpiNvs).is_err());
    }

    #[test]
    fn sizes_of_a_pc_are_refused_with_the_reason() {
        use std::string::ToString;
        let check = |len, expected| assert_eq!(MemoryMap::pc(len).unwrap_err().to_string(), expected);
        check(
            0x1f_f000,
            "1.9 MiB of RAM is too little: at least 2 MiB is needed",
        );
        check(
            0x20_0800,
            "2099200 bytes of RAM is not a multiple of the page size, 4 KiB",
        );
        check(
            u64::MAX - 0xfff,
            "16777215.9 TiB of RAM does not fit in the guest physical address space",
        );
    }
}
