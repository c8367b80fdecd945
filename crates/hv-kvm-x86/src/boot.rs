//! A whole run in one call, available by name on every host.

use boot_core::CpuState;
use guest_ram::GuestRam;
use hv_core::{Outcome, Policy, RunError, SerialInput};

use crate::{KvmError, PcDevices};

/// A machine to make, start and run.
#[derive(Debug)]
pub struct PcBoot<'a> {
    /// Its RAM, already loaded.
    pub ram: &'a GuestRam,
    /// How many vCPUs it has, each a core of its own.
    pub vcpus: u32,
    /// The entry state of the first vCPU.
    pub state: &'a CpuState,
    /// Its devices.
    pub devices: PcDevices,
    /// What ends the run.
    pub policy: &'a Policy,
}

/// Makes the machine on this host's KVM, starts it and runs it until it ends.
///
/// `with_input` is given the console's input, if there is a console, before the guest starts.
///
/// # Errors
///
/// As [`Board::assemble`](hv_core::Board::assemble) and [`Board::boot`](hv_core::Board::boot), and
/// [`HarnessError::WrongHost`](hv_kvm::HarnessError::WrongHost) where this is not Linux on x86_64.
pub fn boot_pc(
    boot: PcBoot<'_>,
    with_input: impl FnOnce(SerialInput),
) -> Result<Outcome, RunError<KvmError>> {
    imp::boot_pc(boot, with_input)
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod imp {
    use super::{KvmError, Outcome, PcBoot, RunError, SerialInput};
    use crate::{Topology, board_on_kvm};

    pub(super) fn boot_pc(
        boot: PcBoot<'_>,
        with_input: impl FnOnce(SerialInput),
    ) -> Result<Outcome, RunError<KvmError>> {
        let topology = Topology::new(boot.vcpus, 1).map_err(|error| RunError::create_vm(error.into()))?;
        let mut pc = board_on_kvm(boot.ram, topology, boot.devices)?;
        pc.input().map(with_input);
        pc.boot(boot.state, boot.policy)
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod imp {
    use boot_core::Arch;
    use hv_kvm::HarnessError;

    use super::{KvmError, Outcome, PcBoot, RunError, SerialInput};

    pub(super) fn boot_pc(_: PcBoot<'_>, _: impl FnOnce(SerialInput)) -> Result<Outcome, RunError<KvmError>> {
        Err(RunError::create_vm(
            HarnessError::WrongHost { guest: Arch::X86_64 }.into(),
        ))
    }
}
