//! The reference machine of arm64.

use std::error::Error;
use std::num::NonZeroU32;

use boot_core::cpu::aarch64::State;
use guest_ram::GuestRam;
use hv_core::virt::{self, Gic, RAM_BASE};
use hv_core::{Outcome, RunConfig, RunError, SerialInput, StopHandle};
use hv_kvm_arm64::{HarnessError, KvmError, MachineBoot, boot_machine};
use rustix::io::Errno;

use super::start::Start;

/// Builds a machine that is stopped before it starts. Only `ENODEV` means that the host lacks the interrupt controller; the
/// case itself reports other errors.
pub(super) fn skip_reason(gic: Gic) -> Option<String> {
    let machine = virt::arm64_machine(1 << 20, NonZeroU32::MIN, gic).ok()?;
    let stop = StopHandle::new();
    stop.stop();
    let ram = GuestRam::new(&machine.memory).ok()?;
    let (state, run_config) = (State::new(RAM_BASE).into(), RunConfig::default().with_stop(stop));
    let boot = MachineBoot::new(&machine, &ram, &state, &run_config);
    match boot_machine(boot, |_| ()) {
        Err(RunError::Operation {
            source: KvmError::Harness(HarnessError::Request { request, source }),
            ..
        }) if source.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Some(format!(
            "KVM of this host does not support the interrupt controller: {request}: {source}"
        )),
        _ => None,
    }
}

pub(super) fn run(
    start: &Start<'_>,
    with_input: impl FnOnce(SerialInput),
) -> Result<Outcome, Box<dyn Error>> {
    let boot = MachineBoot::new(start.machine, start.ram, start.state, start.run_config);
    Ok(boot_machine(boot.with_devices(start.devices()?), with_input)?)
}
