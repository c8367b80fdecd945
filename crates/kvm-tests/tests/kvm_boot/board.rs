//! Kinds of machines.

use hv_core::virt::{Gic, RiscvIrqchip};

/// Kind of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Board {
    /// x86_64: a PC without ACPI.
    Pc,
    /// The reference machine of arm64.
    Arm64(Gic),
    /// The reference machine of riscv64.
    Riscv64(RiscvIrqchip),
}
