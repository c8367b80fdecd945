//! Layout of a PC under KVM: vCPUs, devices, and the guest physical addresses that KVM reserves.
//!
//! ```text
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

/// vCPU configuration that a [`Machine`] does not describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VcpuConfig {
    /// Number of threads in each core, a divisor of the number of vCPUs.
    pub threads_per_core: u32,
}

impl Default for VcpuConfig {
    /// One thread per core.
    fn default() -> Self {
        Self { threads_per_core: 1 }
    }
}

impl VcpuConfig {
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
    /// A PC with the vCPUs of `topology` and the devices of [`DeviceLayout::pc`].
    #[must_use]
    pub const fn new(topology: Topology) -> Self {
        Self {
            topology,
            devices: DeviceLayout::pc(),
        }
    }

    /// The layout of `machine`, with the devices of [`DeviceLayout::pc`]. [`Machine::platform`] is not used.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] for machines of another architecture, and numbers of vCPUs or threads per core that are not possible.
    pub fn of(machine: &Machine, config: VcpuConfig) -> Result<Self, LayoutError> {
        if machine.arch != Arch::X86_64 {
            return Err(LayoutError::Arch { found: machine.arch });
        }
        Ok(Self::new(Topology::new(
            machine.vcpus.get(),
            config.threads_per_core,
        )?))
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
        let config = VcpuConfig::default().with_threads_per_core(2);
        let mut machine = Machine::new(Arch::X86_64, MemoryMap::pc(2 << 20).unwrap());
        assert!(matches!(
            Layout::of(&machine, config),
            Err(LayoutError::Topology(TopologyError::Uneven { .. }))
        ));
        machine.vcpus = NonZeroU32::new(4).unwrap();
        let layout = Layout::of(&machine, config).unwrap();
        assert_eq!(layout.topology, Topology::new(4, 2).unwrap());
        assert_eq!(layout.devices, DeviceLayout::pc());
        machine.arch = Arch::Riscv64;
        assert_eq!(
            Layout::of(&machine, config),
            Err(LayoutError::Arch { found: Arch::Riscv64 })
        );
    }

    #[test]
    fn memory_maps_of_pcs_have_no_ram_in_the_reserved_range() {
        for size in [2 << 20, 3 << 30, 4 << 30, 64 << 30] {
            let map = MemoryMap::pc(size).unwrap();
            assert!(map.ram().all(|ram| !ram.overlaps(RESERVED)), "{size:#x}");
        }
    }
}
