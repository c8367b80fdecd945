//! The machine a kernel is to run on, as far as its boot depends on it.
//!
//! A [`Machine`] is memory and CPUs; its [`Platform`] says which devices stand where. A PC leaves the platform empty:
//! its devices are described through ACPI or found by probing. The device tree of an arm64 or riscv64 machine is
//! written from it, and the harness that builds the machine creates its devices from the same value, so the two
//! cannot disagree.

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
    /// Its physical memory, and what the guest is to be told about it.
    pub memory: MemoryMap,
    /// How many virtual CPUs it has.
    pub vcpus: NonZeroU32,
    /// The guest physical address of the ACPI RSDP, where there is one.
    pub acpi_rsdp: Option<u64>,
    /// Its devices, as far as the guest is to be told about them.
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
