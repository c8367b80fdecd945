//! The machine that a boot is planned for.
//!
//! A [`Machine`] has an architecture, a memory map and a number of vCPUs; its [`Platform`] describes the hardware that a
//! guest cannot discover. A PC's platform is empty, except for virtio-mmio slots: ACPI describes its hardware. For arm64 and riscv64, `proto-fdt` creates
//! the device tree from the platform, unless the caller passes one. The module `virt` of the crate `hv-core` has complete
//! machines of both architectures.

mod cpu;
mod device;
mod interrupt;
mod node;
mod numa;
mod platform;
mod topology;

use core::num::NonZeroU32;

pub use cpu::{Arm64Cpu, Cpus, Isa, IsaError, MmuType, RiscvCpus, RiscvHart};
pub use device::{
    PciHost, PciSpace, PciWindow, Psci, PsciMethod, PsciVersion, RegisterWrite, ReservedMemory, Serial,
    SerialKind, Syscon, VirtioMmio,
};
pub use interrupt::{
    Aplic, Arm64Timer, GicV2, GicV2m, GicV3, Imsic, Interrupt, InterruptController, Line, Plic, Trigger,
};
pub use node::{DtNode, DtProperty, DtReference, DtValue};
pub use numa::{Numa, NumaDistance, NumaError, NumaNode};
pub use platform::Platform;
pub use topology::{Cache, CacheScope, Caches, CpuPosition, Topology, TopologyError};

use crate::{Arch, MemoryMap};

/// A machine: architecture, memory, CPUs and the hardware that is described to the guest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Machine {
    /// The architecture of its CPUs.
    pub arch: Arch,
    /// Its physical memory map.
    pub memory: MemoryMap,
    /// Number of virtual CPUs. [`Platform::cpus`] describes as many, or none.
    pub vcpus: NonZeroU32,
    /// The NUMA nodes of its CPUs and memory; `None` for a machine without NUMA.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub numa: Option<Numa>,
    /// The topology of its CPUs; `None` leaves it open.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub topology: Option<Topology>,
    /// The guest physical address of the ACPI RSDP, if any.
    pub acpi_rsdp: Option<u64>,
    /// The guest physical address of the SMBIOS entry point, if the boot protocol is to hand it over.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub smbios: Option<u64>,
    /// The hardware that is described to the guest by a device tree.
    pub platform: Platform,
}

impl Machine {
    /// A machine with this memory, one CPU and an empty platform.
    #[must_use]
    pub const fn new(arch: Arch, memory: MemoryMap) -> Self {
        Self {
            arch,
            memory,
            vcpus: NonZeroU32::MIN,
            numa: None,
            topology: None,
            acpi_rsdp: None,
            smbios: None,
            platform: Platform::new(),
        }
    }
}
