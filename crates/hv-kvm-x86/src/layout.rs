//! Layout of a PC under KVM: vCPUs, devices, and the guest physical addresses that KVM reserves.
//!
//! ```text
//!      0xa_0000  video memory                   device space
//!      0xc_0000  option ROMs and BIOS           `Layout::rom`
//!     0x10_0000  RAM
//!   0xfec0_0000  I/O APIC                       emulated in the kernel
//!   0xfee0_0000  local APIC, and MSI writes     emulated in the kernel
//!   0xfffb_c000  identity page table, one page  used by KVM on Intel hosts without unrestricted guests
//!   0xfffb_d000  task state segment, 3 pages    used by KVM on the same hosts
//!  0x1_0000_0000 RAM may continue here
//! ```

use boot_core::{Arch, GuestRange, Machine};
use hv_core::DeviceLayout;

use crate::{Topology, TopologyError};

/// I/O APIC registers, at the address that PC chipsets use.
pub const IO_APIC: u64 = 0xfec0_0000;

/// Local APIC registers after reset (Intel SDM 3A, "Local APIC Status and Location"). Writes of devices to the MiB from this
/// address on are message-signalled interrupts.
pub const LOCAL_APIC: u64 = 0xfee0_0000;

/// Address for `KVM_SET_IDENTITY_MAP_ADDR`: one page, the page table of guests that have paging disabled.
pub const IDENTITY_MAP: u64 = 0xfffb_c000;

/// Address for `KVM_SET_TSS_ADDR`: three pages, the task state segment of guests in real mode.
pub const TSS: u64 = 0xfffb_d000;

/// Range that must not contain RAM: from the I/O APIC to the end of the first 4 GiB.
///
/// The memory maps of `boot_core::MemoryMap::pc` have no RAM there.
pub const RESERVED: GuestRange = GuestRange::from_bounds(IO_APIC, 0x1_0000_0000).unwrap();

/// Addresses of option ROMs and BIOS on a PC. The 128 KiB below are video memory, and device space in this harness.
///
/// Operating systems scan these addresses for the ACPI RSDP, the MP table, SMBIOS, option ROMs and BIOS services. Without
/// memory there, each of these thousands of reads is an exit.
pub const ROM: GuestRange = GuestRange::from_bounds(0xc_0000, 0x10_0000).unwrap();

/// Memory at the addresses [`ROM`] where the machine has no RAM. The memory map given to the guest is not changed: there the
/// range is reserved ([`boot_core::MemoryMap::pc`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RomArea {
    /// Memory filled with `0xff`, as a PC reads it where no ROM is. Writes of the guest have no effect: each is an access
    /// without a device.
    #[default]
    ReadOnly,
    /// The same contents, but the guest can change them, as in shadow RAM that is left writable.
    Writable,
    /// No memory: all accesses are exits. Devices can be at these addresses.
    Absent,
}

/// The parts of [`ROM`] outside the sorted ranges `ram`.
pub(crate) fn rom_gaps(ram: &[GuestRange]) -> Vec<GuestRange> {
    let mut gaps = Vec::new();
    let mut start = ROM.start();
    for range in ram.iter().filter(|range| range.overlaps(ROM)) {
        gaps.extend(GuestRange::from_bounds(start, range.start()));
        start = start.max(range.end());
    }
    gaps.extend(GuestRange::from_bounds(start, ROM.end()));
    gaps.retain(|gap| !gap.is_empty());
    gaps
}

/// Configuration of a PC that a [`Machine`] does not describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PcConfig {
    /// Number of threads in each core, a divisor of the number of vCPUs.
    pub threads_per_core: u32,
    /// Memory at the addresses of option ROMs and BIOS. A device there needs [`RomArea::Absent`]: reads, and with
    /// [`RomArea::Writable`] writes, do not reach the bus where memory is.
    pub rom: RomArea,
}

impl Default for PcConfig {
    /// One thread per core, and [`RomArea::ReadOnly`].
    fn default() -> Self {
        Self {
            threads_per_core: 1,
            rom: RomArea::ReadOnly,
        }
    }
}

impl PcConfig {
    /// Sets the memory at the addresses of option ROMs and BIOS.
    #[must_use]
    pub const fn with_rom(mut self, rom: RomArea) -> Self {
        self.rom = rom;
        self
    }

    /// Sets the number of threads in each core.
    #[must_use]
    pub const fn with_threads_per_core(mut self, threads_per_core: u32) -> Self {
        self.threads_per_core = threads_per_core;
        self
    }
}

/// A PC that this harness can build.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layout {
    /// Topology of the vCPUs.
    pub topology: Topology,
    /// Devices of the machine. Interrupt lines are global system interrupts.
    pub devices: DeviceLayout,
    /// Memory at the addresses of option ROMs and BIOS, which `board_on_kvm` maps where the machine has no RAM.
    pub rom: RomArea,
}

/// Reason why this harness cannot build a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The machine has another architecture.
    #[error("this harness builds x86_64 machines, but the machine is {found}")]
    Arch {
        /// Architecture of the machine.
        found: Arch,
    },
    /// The number of vCPUs or of threads per core is not possible.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

impl Layout {
    /// A PC with the vCPUs of `topology`, the devices of [`DeviceLayout::pc`] and [`RomArea::ReadOnly`].
    #[must_use]
    pub const fn new(topology: Topology) -> Self {
        Self {
            topology,
            devices: DeviceLayout::pc(),
            rom: RomArea::ReadOnly,
        }
    }

    /// Sets the memory at the addresses of option ROMs and BIOS.
    #[must_use]
    pub const fn with_rom(mut self, rom: RomArea) -> Self {
        self.rom = rom;
        self
    }

    /// The layout of `machine`, with the devices of [`DeviceLayout::pc`]. [`Machine::platform`] is not used.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] for machines of another architecture, and numbers of vCPUs or threads per core that are not possible.
    pub fn of(machine: &Machine, config: PcConfig) -> Result<Self, LayoutError> {
        if machine.arch != Arch::X86_64 {
            return Err(LayoutError::Arch { found: machine.arch });
        }
        let topology = Topology::new(machine.vcpus.get(), config.threads_per_core)?;
        Ok(Self::new(topology).with_rom(config.rom))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use boot_core::MemoryMap;

    use super::*;

    #[test]
    fn nothing_overlaps() {
        const PAGE: u64 = 0x1000;
        let ranges = [
            (IO_APIC, PAGE),
            (LOCAL_APIC, 0x10_0000),
            (IDENTITY_MAP, PAGE),
            (TSS, 3 * PAGE),
        ]
        .map(|(start, len)| GuestRange::new(start, len).unwrap());
        assert!(ranges.is_sorted_by(|a, b| a.end() <= b.start()));
        assert!(ranges.iter().all(|&range| RESERVED.contains(range)));
    }

    #[test]
    fn machines_of_other_architectures_and_impossible_topologies_are_refused() {
        let config = PcConfig::default()
            .with_threads_per_core(2)
            .with_rom(RomArea::Absent);
        let mut machine = Machine::new(Arch::X86_64, MemoryMap::pc(2 << 20).unwrap());
        assert!(matches!(
            Layout::of(&machine, config),
            Err(LayoutError::Topology(TopologyError::Uneven { .. }))
        ));
        machine.vcpus = NonZeroU32::new(4).unwrap();
        let layout = Layout::of(&machine, config).unwrap();
        assert_eq!(layout.topology, Topology::new(4, 2).unwrap());
        assert_eq!(layout.devices, DeviceLayout::pc());
        assert_eq!(layout.rom, RomArea::Absent);
        machine.arch = Arch::Riscv64;
        assert_eq!(
            Layout::of(&machine, config),
            Err(LayoutError::Arch { found: Arch::Riscv64 })
        );
    }

    #[test]
    fn the_rom_area_is_what_ram_leaves_free() {
        let check = |ram: &[(u64, u64)], expected: &[(u64, u64)]| {
            let ram: Vec<_> = ram
                .iter()
                .filter_map(|(start, end)| GuestRange::from_bounds(*start, *end))
                .collect();
            let gaps: Vec<_> = rom_gaps(&ram)
                .iter()
                .map(|gap| (gap.start(), gap.end()))
                .collect();
            assert_eq!(gaps, expected, "{ram:?}");
        };
        let all = [(0xc_0000, 0x10_0000)];
        check(&[], &all);
        check(&[(0, 0xa_0000), (0x10_0000, 0x20_0000)], &all);
        check(&[(0, 0x20_0000)], &[]);
        check(
            &[(0, 0xc_1000), (0xe_0000, 0xe_1000), (0xf_f000, 0x10_1000)],
            &[(0xc_1000, 0xe_0000), (0xe_1000, 0xf_f000)],
        );
        // Two adjacent regions of RAM have no gap between them.
        check(
            &[(0xc_0000, 0xd_0000), (0xd_0000, 0xe_0000)],
            &[(0xe_0000, 0x10_0000)],
        );
        let map = MemoryMap::pc(2 << 20).unwrap();
        let reserved = map
            .regions()
            .iter()
            .any(|region| region.kind == boot_core::RegionKind::Reserved && region.range.contains(ROM));
        assert!(reserved, "the guest is told that the ROM area is not RAM");
    }

    #[test]
    fn memory_maps_of_pcs_have_no_ram_in_the_reserved_range() {
        for size in [2 << 20, 3 << 30, 4 << 30, 64 << 30] {
            let map = MemoryMap::pc(size).unwrap();
            assert!(map.ram().all(|ram| !ram.overlaps(RESERVED)), "{size:#x}");
        }
    }
}
