//! Debug exceptions that KVM reports (`KVM_SET_GUEST_DEBUG`).

use hv_core::{DebugCause, DebugRequest, HardwareBreakpoint};
use kvm_bindings::{
    KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_HW, KVM_GUESTDBG_USE_SW_BP,
    kvm_guest_debug, kvm_guest_debug_arch,
};

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
    /// Those of `request`, on a CPU with these numbers of breakpoints and watchpoints.
    pub(super) fn new(
        request: &DebugRequest,
        [breakpoints, watchpoints]: [usize; 2],
    ) -> Result<Self, KvmError> {
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
        Ok(Self {
            request: debug,
            hardware: request.hardware.clone(),
        })
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.request.control == 0
    }

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
