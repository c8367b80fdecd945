//! The hardware of a machine that a guest cannot discover.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::{
    Arm64Timer, Cpus, DtNode, InterruptController, PciHost, Psci, ReservedMemory, Serial, Syscon, VirtioMmio,
};

/// The hardware of a machine that a guest cannot discover, as plain data.
///
/// Values are not checked here. `proto-fdt` checks them when it creates a device tree: for example, that the interrupt
/// controller has every interrupt line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Platform {
    /// The machine's human-readable name; empty for none (Devicetree Specification, "Root node": `model`).
    pub model: Cow<'static, str>,
    /// The machine's identifiers, most specific first (Devicetree Specification, "Root node": `compatible`).
    pub compatible: Vec<Cow<'static, str>>,
    /// The CPUs, in the order of the vCPU indices; the first is the boot CPU.
    pub cpus: Cpus,
    /// The interrupt controller of the devices.
    pub interrupt_controller: InterruptController,
    /// The arm64 generic timer. A riscv64 machine has its timer's frequency in [`RiscvCpus`](super::RiscvCpus).
    pub timer: Option<Arm64Timer>,
    /// PSCI of an arm64 machine: it starts CPUs and turns the machine off. Required for more than one CPU.
    pub psci: Option<Psci>,
    /// Serial ports; the first is the console.
    pub serial: Vec<Serial>,
    /// virtio-mmio slots, with or without a device.
    pub virtio_mmio: Vec<VirtioMmio>,
    /// The PCI host.
    pub pci: Option<PciHost>,
    /// Registers that turn the machine off or reset it.
    pub syscon: Option<Syscon>,
    /// RAM that is described to the guest as reserved.
    pub reserved_memory: Vec<ReservedMemory>,
    /// Further nodes of the device tree, below the root node. ACPI tables do not describe them.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub nodes: Vec<DtNode>,
}

impl Platform {
    /// An empty platform.
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
            nodes: Vec::new(),
        }
    }
}
