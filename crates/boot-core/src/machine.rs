//! The machine that a boot is planned for.
//!
//! A [`Machine`] is memory and CPUs; its [`Platform`] lists the devices and their addresses. A PC's platform is empty:
//! its devices are described by ACPI or found by probing. For arm64 and riscv64, the device tree is written from the
//! platform, and the harness creates its devices from the same value, so that the two agree.

mod cpu;
mod device;
mod interrupt;
mod platform;

use core::num::NonZeroU32;

pub use cpu::{Arm64Cpu, Cpus, Isa, IsaError, MmuType, RiscvCpus, RiscvHart};
pub use device::{
    PciHost, PciSpace, PciWindow, Psci, PsciMethod, PsciVersion, RegisterWrite, ReservedMemory, Serial,
    SerialKind, Syscon, VirtioMmio,
};
pub use interrupt::{
    Aplic, Arm64Timer, GicV2, GicV2m, GicV3, Imsic, Interrupt, InterruptController, Line, Plic, Trigger,
};
pub use platform::Platform;

use crate::{Arch, MemoryMap};

/// A machine: architecture, memory, CPUs and the tables that describe it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Machine {
    /// The architecture of its CPUs.
    pub arch: Arch,
    /// Its physical memory map.
    pub memory: MemoryMap,
    /// Number of virtual CPUs.
    pub vcpus: NonZeroU32,
    /// The guest physical address of the ACPI RSDP, if any.
    pub acpi_rsdp: Option<u64>,
    /// The devices that are described to the guest.
    pub platform: Platform,
}

impl Machine {
    /// A machine with this memory, one CPU and no device.
    #[must_use]
    pub const fn new(arch: Arch, memory: MemoryMap) -> Self {
        Self {
            arch,
            memory,
            vcpus: NonZeroU32::MIN,
            acpi_rsdp: None,
            platform: Platform::new(),
        }
    }
}
