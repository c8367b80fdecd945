//! A PC without ACPI.

use std::error::Error;
use std::num::NonZeroU32;

use boot_core::{Arch, Machine, MemoryMap};
use hv_core::{Outcome, SerialInput};
use hv_kvm_x86::{MachineBoot, boot_machine};

use super::start::Start;

pub(super) fn describe(memory: u64, vcpus: NonZeroU32) -> Result<Machine, Box<dyn Error>> {
    let mut machine = Machine::new(Arch::X86_64, MemoryMap::pc(memory)?);
    machine.vcpus = vcpus;
    Ok(machine)
}

pub(super) fn run(
    start: &Start<'_>,
    with_input: impl FnOnce(SerialInput),
) -> Result<Outcome, Box<dyn Error>> {
    let boot = MachineBoot::new(start.machine, start.ram, start.state, start.run_config);
    Ok(boot_machine(boot.with_devices(start.devices()?), with_input)?)
}
