//! The reference machine of riscv64, with harts like the host's.

use std::error::Error;
use std::num::NonZeroU32;

use boot_core::Machine;
use hv_core::virt::RiscvIrqchip;
use hv_core::{Outcome, SerialInput};
use hv_kvm_riscv::{MachineBoot, boot_machine, host};

use super::Start;

/// A PLIC is in user space, so that every host has it.
pub(super) fn obstacle(irqchip: RiscvIrqchip) -> Option<String> {
    // A host that cannot be asked is for the case itself to meet.
    let has_aia = host().map_or(true, |host| host.aia_ids.is_some());
    (irqchip != RiscvIrqchip::Plic && !has_aia).then(|| {
        "this host's KVM has no AIA: its harts lack the extension, or its kernel the device".to_owned()
    })
}

pub(super) fn describe(
    memory: u64,
    vcpus: NonZeroU32,
    irqchip: RiscvIrqchip,
) -> Result<Machine, Box<dyn Error>> {
    Ok(host()?.machine(memory, vcpus, irqchip)?)
}

pub(super) fn run(
    start: &Start<'_>,
    with_input: impl FnOnce(SerialInput),
) -> Result<Outcome, Box<dyn Error>> {
    let boot = MachineBoot {
        machine: start.machine,
        ram: start.ram,
        state: start.state,
        devices: start.devices(),
        policy: start.policy,
    };
    Ok(boot_machine(boot, with_input)?)
}
