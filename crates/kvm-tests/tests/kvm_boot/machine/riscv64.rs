//! The reference machine of riscv64, with the harts of the host.

use std::error::Error;
use std::num::NonZeroU32;

use boot_core::Machine;
use hv_core::virt::RiscvIrqchip;
use hv_core::{Outcome, SerialInput};
use hv_kvm_riscv::{MachineBoot, boot_machine, host_capabilities};

use super::start::Start;

/// The PLIC is emulated in user space, so every host supports it.
pub(super) fn skip_reason(irqchip: RiscvIrqchip) -> Option<String> {
    // The case itself reports an error of the query.
    let has_aia = host_capabilities().map_or(true, |host| host.aia_ids.is_some());
    (irqchip != RiscvIrqchip::Plic && !has_aia).then(|| {
        "KVM of this host has no AIA: its harts lack the extension, or its kernel the device".to_owned()
    })
}

pub(super) fn describe(
    memory: u64,
    vcpus: NonZeroU32,
    irqchip: RiscvIrqchip,
) -> Result<Machine, Box<dyn Error>> {
    Ok(host_capabilities()?.machine(memory, vcpus, irqchip)?)
}

pub(super) fn run(
    start: &Start<'_>,
    with_input: impl FnOnce(SerialInput),
) -> Result<Outcome, Box<dyn Error>> {
    let boot = MachineBoot::new(start.machine, start.ram, start.state, start.run_config);
    Ok(boot_machine(boot.with_devices(start.devices()?), with_input)?)
}
