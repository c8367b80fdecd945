//! Requested debug exceptions (`KVM_SET_GUEST_DEBUG`).

use hv_core::{DebugCause, DebugRequest, DebugVcpu, HardwareBreakpoint};
use kvm_bindings::{
    KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_HW, KVM_GUESTDBG_USE_SW_BP,
    kvm_guest_debug, kvm_guest_debug_arch,
};

use super::vcpu::KvmBareVcpu;
use crate::{
    KvmError,
    debug::{self, DebugRegisters},
    kvm::{entry::VcpuEntry, request::failed_request},
};

/// Requested debug exceptions.
#[derive(Debug)]
pub(super) struct Debug {
    request: kvm_guest_debug,
    hardware: Vec<HardwareBreakpoint>,
}

impl Debug {
    pub(super) fn enable(&self, entry: &VcpuEntry) -> Result<(), KvmError> {
        set(entry, &self.request)
    }

    pub(super) fn disable(entry: &VcpuEntry) -> Result<(), KvmError> {
        set(entry, &kvm_guest_debug::default())
    }

    /// Cause of an exception: its class, the address of the instruction and the fault address.
    pub(super) fn cause(&self, class: u32, pc: u64, far: u64) -> DebugCause {
        debug::cause(class, pc, far, &self.hardware)
    }
}

fn set(entry: &VcpuEntry, request: &kvm_guest_debug) -> Result<(), KvmError> {
    entry
        .fd()
        .set_guest_debug(request)
        .map_err(failed_request("KVM_SET_GUEST_DEBUG"))
}

/// A watchpoint stops the vCPU before the access, a breakpoint before the instruction. To go on, step once without it.
impl DebugVcpu for KvmBareVcpu {
    fn set_debug(&mut self, request: &DebugRequest) -> Result<(), KvmError> {
        let [breakpoints, watchpoints] = self.machine.process.registers.debug;
        let DebugRegisters {
            bvr, bcr, wvr, wcr, ..
        } = DebugRegisters::new(&request.hardware, breakpoints, watchpoints)?;
        let mut debug = kvm_guest_debug {
            arch: kvm_guest_debug_arch {
                dbg_bcr: bcr,
                dbg_bvr: bvr,
                dbg_wcr: wcr,
                dbg_wvr: wvr,
            },
            ..kvm_guest_debug::default()
        };
        for (is_requested, flag) in [
            (request.step, KVM_GUESTDBG_SINGLESTEP),
            (request.breakpoint_instructions, KVM_GUESTDBG_USE_SW_BP),
            (!request.hardware.is_empty(), KVM_GUESTDBG_USE_HW),
        ] {
            if is_requested {
                debug.control |= flag | KVM_GUESTDBG_ENABLE;
            }
        }
        self.complete_rewind()?;
        set(&self.entry, &debug)?;
        self.debug = (debug.control != 0).then(|| Debug {
            request: debug,
            hardware: request.hardware.clone(),
        });
        Ok(())
    }
}
