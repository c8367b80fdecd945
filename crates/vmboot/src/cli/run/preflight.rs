//! Check before a run that this host can run the image.

use std::cell::OnceCell;

use boot_core::Arch;
use hv_core::Outcome;
use hv_kvm_x86::is_emulation_failure;
use vmboot::doctor::{self, NotReady, Readiness};

/// Result of the check of this host.
#[derive(Debug, Default)]
pub(super) struct Preflight(OnceCell<Readiness>);

impl Preflight {
    /// Checks the host once.
    pub(super) fn check(&self, arch: Arch) -> Result<(), NotReady> {
        if self.0.get().is_none() {
            let readiness = doctor::readiness(arch)?;
            self.0.get_or_init(|| readiness);
        }
        Ok(())
    }

    fn is_limited(&self) -> bool {
        matches!(self.0.get(), Some(Readiness::Limited(_)))
    }

    /// A warning before the start of a guest.
    pub(super) fn warning(&self, is_linux: bool) -> Option<&'static str> {
        (self.is_limited() && is_linux).then_some(
            "KVM of this host emulates kernel code in software and knows only some instructions: Linux will probably stop at \
             another one; `vmboot doctor` has details",
        )
    }

    /// The explanation of an outcome that is due to this host.
    pub(super) fn explanation(&self, outcome: &Outcome) -> Option<&'static str> {
        let is_due = matches!(outcome, Outcome::Crash(report) if is_emulation_failure(&report.fault));
        (self.is_limited() && is_due).then_some(
            "the cause is probably not the kernel: KVM of this host emulates kernel code in software and does not know all \
             instructions; use a host with VMX or SVM, or `cargo xtask run --kernel FILE` in the workspace of vmboot, which emulates one",
        )
    }
}

#[cfg(test)]
mod tests {
    use boot_core::cpu::x86_64::State;
    use hv_core::{CrashReport, Fault};
    use hv_kvm::exit_reason::internal_error;

    use super::*;

    #[test]
    fn only_a_limited_kvm_causes_a_warning_and_an_explanation() {
        let crash = |fault| {
            let state = State::protected_mode(0x10_0000, 0x10, 0x18).into();
            Outcome::Crash(Box::new(CrashReport::new(0, fault, state)))
        };
        let unknown_instruction = crash(internal_error(1, &[], None));
        let preflight = |readiness| Preflight(OnceCell::from(readiness));
        let limited = preflight(Readiness::Limited(Box::new(unknown_instruction.clone())));
        assert!(limited.warning(true).is_some());
        assert_eq!(limited.warning(false), None);
        assert!(limited.explanation(&unknown_instruction).is_some());
        assert_eq!(limited.explanation(&crash(internal_error(3, &[], None))), None);
        assert_eq!(limited.explanation(&crash(Fault::Shutdown)), None);
        assert_eq!(limited.explanation(&Outcome::PowerOff), None);
        for other in [preflight(Readiness::Full), Preflight::default()] {
            assert_eq!(other.warning(true), None);
            assert_eq!(other.explanation(&unknown_instruction), None);
        }
    }
}
