//! All devices of a machine.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::{
    Arm64Timer, Cpus, InterruptController, PciHost, Psci, ReservedMemory, Serial, Syscon, VirtioMmio,
};

/// The devices of a machine that a guest cannot discover, as plain data.
///
/// Nothing is checked here. A writer of a description for the guest returns an error for what it cannot express, such
/// as an interrupt line that the interrupt controller does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Platform {
    /// The machine's human-readable name; empty for none (Devicetree Specification, "Root node": `model`).
    pub model: Cow<'static, str>,
    /// The machine's identifiers, most specific first (Devicetree Specification, "Root node": `compatible`).
    pub compatible: Vec<Cow<'static, str>>,
    /// Its CPUs, in the order of the vCPU indices; the first is the boot CPU.
    pub cpus: Cpus,
    /// The interrupt controller that the devices' lines lead to.
    pub interrupt_controller: InterruptController,
    /// The arm64 generic timer. A riscv64 machine has its timer's frequency in [`RiscvCpus`](super::RiscvCpus).
    pub timer: Option<Arm64Timer>,
    /// How arm64 CPUs are started and the machine is turned off.
    pub psci: Option<Psci>,
    /// Serial ports; the first is the console.
    pub serial: Vec<Serial>,
    /// virtio-mmio slots, used or not.
    pub virtio_mmio: Vec<VirtioMmio>,
    /// The PCI host.
    pub pci: Option<PciHost>,
    /// A register that turns the machine off or resets it.
    pub syscon: Option<Syscon>,
    /// RAM that is described to the guest as reserved.
    pub reserved_memory: Vec<ReservedMemory>,
}

impl Platform {
    /// A platform without a device.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            model: Cow::Borrowed(""),
            compatible: Vec::new(),
            cpus: Cpus::Unspecified,
            interrupt_controller: InterruptController::Unspecified,
            timer: None,
            psci: None,
            serial: Vec::new(),
            virtio_mmio: Vec::new(),
            pci: None,
            syscon: None,
            reserved_memory: Vec::new(),
        }
    }
}
