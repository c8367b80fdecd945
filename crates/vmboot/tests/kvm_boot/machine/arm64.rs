//! The reference machine of arm64.

use std::error::Error;
use std::num::NonZeroU32;

use boot_core::cpu::aarch64::State;
use guest_ram::GuestRam;
use hv_core::virt::{self, Gic, RAM_BASE};
use hv_core::{Outcome, Policy, RunError, SerialInput, StopHandle};
use hv_kvm_arm64::{BoardDevices, HarnessError, KvmError, MachineBoot, VcpuFeatures, boot_machine};
use rustix::io::Errno;

use super::Start;

/// Makes a machine that is stopped before it starts. Only the kernel's own "no such device" tells that the host lacks the
/// interrupt controller; whatever else goes wrong is for the case itself to meet.
pub(super) fn obstacle(gic: Gic) -> Option<String> {
    let machine = virt::arm64_machine(1 << 20, NonZeroU32::MIN, gic).ok()?;
    let stop = StopHandle::new();
    stop.stop();
    let boot = MachineBoot {
        machine: &machine,
        ram: &GuestRam::new(&machine.memory).ok()?,
        state: &State::new(RAM_BASE).into(),
        features: VcpuFeatures::default(),
        devices: BoardDevices::default(),
        policy: &Policy {
            stop,
            ..Policy::default()
        },
    };
    match boot_machine(boot, |_| ()) {
        Err(RunError::Operation {
            source: KvmError::Harness(HarnessError::Request { request, source }),
            ..
        }) if source.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Some(format!(
            "this host's KVM has no such interrupt controller: {request} gave {source}"
        )),
        _ => None,
    }
}

pub(super) fn run(
    start: &Start<'_>,
    with_input: impl FnOnce(SerialInput),
) -> Result<Outcome, Box<dyn Error>> {
    let boot = MachineBoot {
        machine: start.machine,
        ram: start.ram,
        state: start.state,
        features: VcpuFeatures::default(),
        devices: start.devices(),
        policy: start.policy,
    };
    Ok(boot_machine(boot, with_input)?)
}
