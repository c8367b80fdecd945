//! A whole run in one call, available by name on every host.

use boot_core::{CpuState, machine::Machine};
use guest_ram::GuestRam;
use hv_core::{BoardDevices, Outcome, Policy, RunError, SerialInput};

use crate::{KvmError, Layout, VcpuFeatures};

/// A machine to make, start and run.
#[derive(Debug)]
pub struct MachineBoot<'a> {
    /// What it is to be: the same value that its device tree was written from.
    pub machine: &'a Machine,
    /// Its RAM, already loaded.
    pub ram: &'a GuestRam,
    /// The entry state of the first vCPU.
    pub state: &'a CpuState,
    /// Optional parts of its vCPUs.
    pub features: VcpuFeatures,
    /// What its devices are connected to.
    pub devices: BoardDevices,
    /// What ends the run.
    pub policy: &'a Policy,
}

/// Makes the machine on this host's KVM, starts it and runs it until it ends.
///
/// `with_input` is given the console's input, if there is a console, before the guest starts.
///
/// # Errors
///
/// As [`Board::assemble`](hv_core::Board::assemble) and [`Board::boot`](hv_core::Board::boot); [`KvmError::Layout`] for a
/// machine that this harness cannot build, and
/// [`HarnessError::WrongHost`](hv_kvm::HarnessError::WrongHost) where this is not Linux on arm64.
pub fn boot_machine(
    boot: MachineBoot<'_>,
    with_input: impl FnOnce(SerialInput),
) -> Result<Outcome, RunError<KvmError>> {
    let layout = Layout::of(boot.machine).map_err(|error| RunError::create_vm(error.into()))?;
    imp::boot_machine(boot, &layout, with_input)
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod imp {
    use super::{KvmError, Layout, MachineBoot, Outcome, RunError, SerialInput};
    use crate::board_on_kvm;

    pub(super) fn boot_machine(
        boot: MachineBoot<'_>,
        layout: &Layout,
        with_input: impl FnOnce(SerialInput),
    ) -> Result<Outcome, RunError<KvmError>> {
        let mut board = board_on_kvm(boot.ram, layout, boot.features, boot.devices)?;
        board.input().map(with_input);
        board.boot(boot.state, boot.policy)
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "aarch64")))]
mod imp {
    use boot_core::Arch;
    use hv_kvm::HarnessError;

    use super::{KvmError, Layout, MachineBoot, Outcome, RunError, SerialInput};

    pub(super) fn boot_machine(
        _: MachineBoot<'_>,
        _: &Layout,
        _: impl FnOnce(SerialInput),
    ) -> Result<Outcome, RunError<KvmError>> {
        Err(RunError::create_vm(
            HarnessError::WrongHost { guest: Arch::Aarch64 }.into(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use boot_core::{cpu::aarch64::State, machine::InterruptController};
    use hv_core::virt;

    use super::*;

    /// A machine that cannot be built is refused on every host, before the host is looked at.
    #[test]
    fn refusals_come_first() {
        let mut machine = virt::arm64_machine(1 << 20, NonZeroU32::MIN, virt::Gic::V3).unwrap();
        machine.platform.interrupt_controller = InterruptController::Unspecified;
        let boot = MachineBoot {
            machine: &machine,
            ram: &GuestRam::new(&machine.memory).unwrap(),
            state: &State::new(virt::RAM_BASE).into(),
            features: VcpuFeatures::default(),
            devices: BoardDevices::default(),
            policy: &Policy::default(),
        };
        let error = boot_machine(boot, |_| ()).unwrap_err();
        let RunError::Operation {
            source: KvmError::Layout(_),
            ..
        } = error
        else {
            panic!("{error:?}");
        };
    }
}
