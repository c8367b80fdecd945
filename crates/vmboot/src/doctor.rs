//! What this host can run, and why.
//!
//! [`readiness`] is the check that `vmboot run` makes before it starts a guest; [`examine`] is the report of `vmboot doctor`.

mod diagnosis;
mod files;
mod host;
mod kvm;

use boot_core::Arch;
use hv_core::Outcome;
use hv_kvm::HarnessError;
use hv_kvm_x86::{GuestExecution, ProbeError};

use self::files::HostFiles;
pub use self::kvm::DEFAULT_MEMORY;
use self::kvm::probe;
use crate::report::DoctorReport;

/// A host that can run guests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// All guests of the architecture.
    Full,
    /// Small bare-metal guests only: KVM emulates the guest's kernel in software. The outcome has the instruction at which a probe
    /// stopped.
    Limited(Box<Outcome>),
}

/// Why a host cannot run the guests of an architecture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// The host has another architecture.
    #[error(
        "{guest} guests need KVM on a host of architecture {guest}, and this host is {host}; use `vmboot plan` here, or \
         `cargo xtask run --arch {guest} --kernel FILE` in the workspace of vmboot, which emulates such a host"
    )]
    Foreign {
        /// Architecture of the guest.
        guest: Arch,
        /// Architecture of the host, by its name in Rust.
        host: &'static str,
    },
    /// KVM is not usable.
    #[error("this host cannot run guests")]
    Kvm(#[source] HarnessError),
    /// KVM cannot run a probe.
    #[error("this host cannot run guests")]
    Probe(#[source] ProbeError),
}

/// Whether this host can run guests of `arch`. Fast, unless the CPU flags of an x86_64 host lack `vmx` and `svm`: then a probe
/// runs in a virtual machine.
///
/// # Errors
///
/// [`NotReady`] if it cannot run any.
pub fn readiness(arch: Arch) -> Result<Readiness, NotReady> {
    readiness_of(arch, std::env::consts::ARCH, &HostFiles::of_host())
}

fn readiness_of(guest: Arch, host: &'static str, files: &HostFiles) -> Result<Readiness, NotReady> {
    if guest.name() != host {
        return Err(NotReady::Foreign { guest, host });
    }
    probe(guest).and_then(|kvm| kvm.check()).map_err(NotReady::Kvm)?;
    if guest != Arch::X86_64 || files.has_x86_virtualization() {
        return Ok(Readiness::Full);
    }
    match hv_kvm_x86::probe_execution().map_err(NotReady::Probe)? {
        GuestExecution::Limited(outcome) => Ok(Readiness::Limited(outcome)),
        _ => Ok(Readiness::Full),
    }
}

/// Examines this host. Creates temporary virtual machines where KVM is usable.
#[must_use]
pub fn examine() -> DoctorReport {
    diagnosis::diagnose(&host::Host::examine(&HostFiles::of_host()))
}

#[cfg(test)]
mod tests {
    use super::kvm::GUESTS;
    use super::*;

    #[test]
    fn a_foreign_guest_is_refused_with_what_works() {
        let files = HostFiles::of_host();
        let error = readiness_of(Arch::Riscv64, "x86_64", &files)
            .unwrap_err()
            .to_string();
        for words in [
            "architecture riscv64",
            "this host is x86_64",
            "`vmboot plan`",
            "--arch riscv64",
        ] {
            assert!(error.contains(words), "{error}");
        }
        assert!(readiness_of(Arch::X86_64, "s390x", &files).is_err());
    }

    /// `vmboot run` and `vmboot doctor` agree on this host, whatever it is.
    #[test]
    fn the_report_agrees_with_the_check_of_runs() {
        let report = examine();
        for guest in GUESTS {
            let verdict = report
                .guests
                .iter()
                .find(|found| found.arch == guest.name())
                .unwrap();
            let expected = match readiness(guest) {
                Ok(Readiness::Full) => crate::report::GuestSupport::Full,
                Ok(Readiness::Limited(_)) => crate::report::GuestSupport::Limited,
                Err(_) => crate::report::GuestSupport::None,
            };
            assert_eq!(verdict.support, expected, "{report}");
        }
    }
}
