//! A PC without ACPI.

use std::error::Error;
use std::num::NonZeroU32;

use boot_core::{Arch, Machine, MemoryMap};
use hv_core::{Outcome, SerialInput};
use hv_kvm_x86::{PcBoot, PcDevices, SerialPort, boot_pc};

use super::Start;

pub(super) fn describe(memory: u64, vcpus: NonZeroU32) -> Result<Machine, Box<dyn Error>> {
    let mut machine = Machine::new(Arch::X86_64, MemoryMap::pc(memory)?);
    machine.vcpus = vcpus;
    Ok(machine)
}

/// A PC has an exit port and no exit page.
pub(super) fn run(start: Start<'_>, with_input: impl FnOnce(SerialInput)) -> Result<Outcome, Box<dyn Error>> {
    let boot = PcBoot {
        ram: start.ram,
        vcpus: start.machine.vcpus.get(),
        state: start.state,
        devices: PcDevices {
            serial: Some(SerialPort::com1(start.console)),
            ..PcDevices::default()
        },
        policy: start.policy,
    };
    Ok(boot_pc(boot, with_input)?)
}
