//! A complete run in one call, available on every host.

use hv_core::{Outcome, RunError, SerialInput};

use crate::{KvmError, Layout, VcpuFeatures};

/// Parameters of a boot on KVM.
pub type MachineBoot<'a> = hv_kvm::MachineBoot<'a, VcpuFeatures>;

/// Builds the machine on KVM of this host, boots it and runs it until the run ends.
///
/// Before the guest starts, `with_input` receives the input of the serial port, if the machine has one.
///
/// # Errors
///
/// Those of [`Board::new`](hv_core::Board::new) and [`Board::boot`](hv_core::Board::boot); [`KvmError::Layout`] for a machine
/// that this harness cannot build; [`HarnessError::UnsupportedHost`](hv_kvm::HarnessError::UnsupportedHost) if the host is not
/// Linux on arm64.
///
/// # Panics
///
/// As [`run()`](hv_core::run()).
pub fn boot_machine(
    boot: MachineBoot<'_>,
    with_input: impl FnOnce(SerialInput),
) -> Result<Outcome, RunError<KvmError>> {
    let layout = Layout::of(boot.machine)
        .map_err(|error| RunError::create_vm(error.into()))?
        .with_features(boot.config);
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
        boot.run_on(|ram, devices| board_on_kvm(ram, layout, devices), with_input)
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
        let error = HarnessError::UnsupportedHost { guest: Arch::Aarch64 };
        Err(RunError::create_vm(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use boot_core::{CpuState, Machine, cpu::aarch64::State, machine::InterruptController};
    use guest_ram::GuestRam;
    use hv_core::{RunConfig, virt};

    fn machine() -> Machine {
        let mut machine = virt::arm64_machine(1 << 20, NonZeroU32::MIN, virt::Gic::V3).unwrap();
        machine.platform.interrupt_controller = InterruptController::Unspecified;
        machine
    }

    fn state() -> CpuState {
        State::new(virt::RAM_BASE).into()
    }

    use super::*;

    /// The layout is checked before the host: the error is the same on every host.
    #[test]
    fn machines_that_cannot_be_built_are_refused_on_every_host() {
        let machine = machine();
        let ram = GuestRam::new(&machine.memory).unwrap();
        let (state, run_config) = (state(), RunConfig::default());
        let boot = MachineBoot::new(&machine, &ram, &state, &run_config);
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
