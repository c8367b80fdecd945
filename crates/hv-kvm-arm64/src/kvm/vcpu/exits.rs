//! What the kernel says when it comes back from the guest, as far as it is particular to arm64.
#![expect(unsafe_code, reason = "reads the unions of the kernel's run structure")]

use std::{thread, time::Duration};

use hv_core::{Exit, Fault};
use kvm_bindings::{KVM_EXIT_DEBUG, KVM_EXIT_INTERNAL_ERROR};

use super::KvmVcpu;
use crate::{
    KvmError, RegId,
    kvm::refused,
    nisv::{self, Response},
};

/// How often an instruction runs again that found no memory on the host, before the vCPU gives up on it.
///
/// A guest may do cache maintenance on a page that the host has swapped out or is about to map: some kernels then see a
/// read that a mapping forbids, and end `KVM_RUN` with `EFAULT`. The page comes back when the instruction runs again.
pub(super) struct Patience {
    attempts: u32,
    /// The registers at the last attempt: while they stay as they are, it is one instruction with one address.
    at: Option<Registers>,
}

/// `PC`, and `X0` to `X30`.
type Registers = Vec<u64>;

impl Patience {
    /// The first attempts follow each other, since the page often is back at once; the others give the host time.
    const AT_ONCE: u32 = 10;
    const ATTEMPTS: u32 = 200;
    const PAUSE: Duration = Duration::from_millis(1);

    pub(super) fn new() -> Self {
        Self {
            attempts: 0,
            at: None,
        }
    }

    /// Gives the host time; false when it has had enough of it.
    fn wait(&mut self, at: Registers) -> bool {
        if self.at.as_ref() != Some(&at) {
            *self = Self {
                attempts: 0,
                at: Some(at),
            };
        }
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts > Self::AT_ONCE {
            thread::sleep(Self::PAUSE);
        }
        self.attempts <= Self::ATTEMPTS
    }
}

impl KvmVcpu {
    /// Lets the kernel finish the access of the last exit, without running any further instruction.
    pub(super) fn settle(&mut self) -> Result<(), KvmError> {
        // An A64 instruction has one access, so nothing new comes of it.
        self.file.settle().map(drop).map_err(refused("KVM_RUN"))
    }

    /// Gives the host time for the memory of the instruction that the vCPU is at; false when it has had enough of it.
    pub(super) fn wait(&self, patience: &mut Patience) -> Result<bool, KvmError> {
        let registers = [RegId::PC].into_iter().chain(super::general());
        let at = registers
            .map(|register| self.read_number(register))
            .collect::<Result<_, _>>()?;
        Ok(patience.wait(at))
    }

    /// Deals with the access in the run structure that the hardware did not take apart; the result is the fault that it is,
    /// if it is one.
    pub(super) fn undecoded(&mut self, patience: &mut Patience) -> Result<Option<Fault>, KvmError> {
        /// Length of an A64 instruction in bytes.
        const INSTRUCTION: u64 = 4;
        // SAFETY: the parts of this field of the union are plain numbers, for which any bits will do; the exit reason, which
        // the caller has looked at, says that they mean something.
        let nisv = unsafe { self.file.kvm_run().__bindgen_anon_1.arm_nisv };
        let (syndrome, address) = (nisv.esr_iss, nisv.fault_ipa);
        match nisv::respond(syndrome, address, self.machine.file.is_ram(address)) {
            Response::Fault(fault) => Ok(Some(fault)),
            Response::Retry if self.wait(patience)? => Ok(None),
            Response::Retry => Ok(Some(Fault::MemoryFault {
                address,
                len: 1,
                flags: syndrome,
            })),
            Response::Skip => {
                let pc = self.read_number(RegId::PC)?;
                self.write_number(RegId::PC, pc.wrapping_add(INSTRUCTION))?;
                Ok(None)
            }
        }
    }

    /// The exit that stands in the run structure.
    pub(super) fn decode(&mut self) -> Exit<'_> {
        match self.file.kvm_run().exit_reason {
            KVM_EXIT_DEBUG => {
                let pc = self.read_number(RegId::PC).ok();
                // SAFETY: the reason says that this is the union's valid field, and its parts are plain numbers.
                let arch = unsafe { self.file.kvm_run().__bindgen_anon_1.debug }.arch;
                Exit::Fault(Fault::Debug {
                    pc: pc.unwrap_or(arch.far),
                    // ESR_ELx.EC, the exception class.
                    exception: arch.hsr >> 26,
                })
            }
            KVM_EXIT_INTERNAL_ERROR => {
                let pc = self.read_number(RegId::PC).ok();
                Exit::Fault(self.file.internal_error(pc))
            }
            _ => self.file.decode(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_with_one_instruction() {
        let mut patience = Patience::new();
        // A loop over many pages, each of which comes back after a few attempts.
        for page in 0..1000 {
            for _ in 0..3 {
                assert!(patience.wait(vec![0x8000, page]), "{page}");
            }
        }
        for attempt in 1..=Patience::ATTEMPTS {
            assert!(patience.wait(vec![0x8000, 7]), "{attempt}");
        }
        assert!(!patience.wait(vec![0x8000, 7]));
        assert!(patience.wait(vec![0x8004, 7]));
    }
}
