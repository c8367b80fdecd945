//! What KVM of this host can run.

use std::time::Duration;

use boot_core::{Arch, GuestMemory as _, Machine, MemoryMap, MemoryMapError, cpu::x86_64::State};
use guest_ram::{GuestRam, RamError};
use hv_core::{Outcome, RunConfig, RunError};
use hv_kvm::{HarnessError, KvmProbe};

use crate::{KvmError, MachineBoot, boot_machine};

/// Queries the KVM of this host, without a virtual machine.
///
/// # Errors
///
/// [`HarnessError::UnsupportedHost`] if the host is not Linux on x86_64, [`HarnessError::Open`] on a host without KVM.
pub fn probe() -> Result<KvmProbe, HarnessError> {
    imp::probe()
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod imp {
    use super::{HarnessError, KvmProbe};
    use crate::kvm::CAPABILITIES;

    pub(super) fn probe() -> Result<KvmProbe, HarnessError> {
        hv_kvm::probe(&CAPABILITIES)
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod imp {
    use super::{Arch, HarnessError, KvmProbe};

    pub(super) fn probe() -> Result<KvmProbe, HarnessError> {
        Err(HarnessError::UnsupportedHost { guest: Arch::X86_64 })
    }
}

/// Result of [`probe_execution`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuestExecution {
    /// The CPU executes the guest's kernel.
    Native,
    /// KVM emulates the guest's kernel in software and knows only some instructions. Small programs run, a stock Linux kernel
    /// does not. The outcome has the instruction at which the probe stopped.
    Limited(Box<Outcome>),
}

/// Failure of [`probe_execution`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The memory of the probe cannot be described.
    #[error("the memory of the probe cannot be described")]
    Map(#[from] MemoryMapError),
    /// The host has no memory for the probe.
    #[error("no memory for the probe")]
    Ram(#[from] RamError),
    /// The probe cannot be loaded.
    #[error("the probe cannot be loaded")]
    Load(#[from] boot_core::MemoryError),
    /// KVM failed.
    #[error("the probe cannot run")]
    Run(#[from] RunError<KvmError>),
    /// The probe ended in an unexpected way.
    #[error("the probe ended in an unexpected way: {0}")]
    Unexpected(Box<Outcome>),
}

/// Determines whether the CPU of this host executes the code of guests, by running one in a temporary virtual machine: an SSE2
/// instruction in ring 0, which KVM's instruction emulator does not know.
///
/// On a host whose CPU flags lack both `vmx` and `svm`, KVM may run ring 0 in its emulator.
///
/// # Errors
///
/// [`ProbeError`]; on hosts without KVM [`ProbeError::Run`].
pub fn probe_execution() -> Result<GuestExecution, ProbeError> {
    const START: u32 = 0x10_0000;
    /// The value that the probe writes to the debug-exit port.
    const DONE: u8 = 0x2a;
    const CODE: [u8; 9] = [
        0x66, 0x0f, 0xef, 0xc0, // pxor xmm0, xmm0
        0xb0, DONE, // mov al, DONE
        0xe6, 0xf4, // out 0xf4, al
        0xf4, // hlt
    ];
    /// `CR4.OSFXSR`, without which SSE instructions are undefined (SDM volume 3A, 2.5).
    const OSFXSR: u64 = 1 << 9;
    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(2 << 20)?);
    let mut ram = GuestRam::new(&machine.memory)?;
    ram.write(START.into(), &CODE)?;
    let mut state = State::protected_mode(START, 0x10, 0x18);
    state.cr4 |= OSFXSR;
    let (state, config) = (
        state.into(),
        RunConfig::default().with_deadline(Duration::from_secs(10)),
    );
    let outcome = boot_machine(MachineBoot::new(&machine, &ram, &state, &config), |_| ())?;
    match outcome {
        Outcome::DebugExit(value) if value == u32::from(DONE) => Ok(GuestExecution::Native),
        Outcome::Crash(report) if is_emulation_failure(&report.fault) => {
            Ok(GuestExecution::Limited(Box::new(Outcome::Crash(report))))
        }
        other => Err(ProbeError::Unexpected(Box::new(other))),
    }
}

/// Whether a vCPU stopped because KVM's emulator does not know an instruction.
#[must_use]
pub fn is_emulation_failure(fault: &hv_core::Fault) -> bool {
    matches!(
        fault,
        hv_core::Fault::InternalError {
            suberror: hv_kvm::exit_reason::INTERNAL_ERROR_EMULATION,
            ..
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The CPU flags decide which result is possible; a host without a usable KVM has an error of KVM.
    #[test]
    fn the_probe_agrees_with_the_flags_of_the_cpu() {
        match probe_execution() {
            Ok(GuestExecution::Native) => {}
            Ok(GuestExecution::Limited(outcome)) => {
                assert!(!hv_kvm_test::has_virtualisation(), "{outcome}");
                assert!(outcome.to_string().contains("66 0f ef c0"), "{outcome}");
            }
            Err(error) => {
                eprintln!("not tested: {error}");
                assert!(matches!(error, ProbeError::Run(_)), "{error}");
                assert!(!probe().is_ok_and(|kvm| kvm.check().is_ok()), "{error}");
            }
        }
    }

    #[test]
    fn other_faults_are_no_emulation_failures() {
        let fault = |suberror| hv_kvm::exit_reason::internal_error(suberror, &[], None);
        assert!(is_emulation_failure(&fault(1)));
        assert!(!is_emulation_failure(&fault(3)));
        assert!(!is_emulation_failure(&hv_core::Fault::Shutdown));
    }
}
