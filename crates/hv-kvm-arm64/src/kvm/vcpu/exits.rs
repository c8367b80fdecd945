//! What the kernel says when it comes back from the guest, as far as it is particular to arm64.
#![expect(unsafe_code, reason = "reads the unions of the kernel's run structure")]

use std::thread;

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
pub(super) struct Patience(u32);

impl Patience {
    const ATTEMPTS: u32 = 100;

    pub(super) fn new() -> Self {
        Self(Self::ATTEMPTS)
    }

    /// Gives the host time; false when it has had enough of it.
    pub(super) fn wait(&mut self) -> bool {
        thread::yield_now();
        match self.0.checked_sub(1) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }
}

impl KvmVcpu {
    /// Lets the kernel finish the access of the last exit, without running any further instruction.
    pub(super) fn settle(&mut self) -> Result<(), KvmError> {
        // An A64 instruction has one access, so nothing new comes of it.
        self.file.settle().map(drop).map_err(refused("KVM_RUN"))
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
            Response::Retry if patience.wait() => Ok(None),
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
