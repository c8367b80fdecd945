//! Requested debug exceptions (`KVM_SET_GUEST_DEBUG`).

use hv_core::{BreakOn, DebugRequest, DebugVcpu, HardwareBreakpoint};
use kvm_bindings::{
    KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_HW_BP, KVM_GUESTDBG_USE_SW_BP,
    kvm_guest_debug,
};

use super::vcpu::KvmBareVcpu;
use crate::{KvmError, kvm::request::failed_request};

/// Number of breakpoint address registers, `DR0` to `DR3`.
const BREAKPOINTS: usize = 4;

/// Index of `DR7` in `struct kvm_guest_debug_arch`.
const DR7: usize = 7;

impl DebugVcpu for KvmBareVcpu {
    fn set_debug(&mut self, request: &DebugRequest) -> Result<(), KvmError> {
        let debug = guest_debug(request)?;
        // KVM takes note of the address at which the first step starts.
        self.settle()?;
        self.entry
            .fd()
            .set_guest_debug(&debug)
            .map_err(failed_request("KVM_SET_GUEST_DEBUG"))?;
        self.entry.is_debugged = debug.control != 0;
        Ok(())
    }
}

fn guest_debug(request: &DebugRequest) -> Result<kvm_guest_debug, KvmError> {
    let mut debug = kvm_guest_debug::default();
    let flags = [
        (request.step, KVM_GUESTDBG_SINGLESTEP),
        (request.breakpoint_instructions, KVM_GUESTDBG_USE_SW_BP),
        (!request.hardware.is_empty(), KVM_GUESTDBG_USE_HW_BP),
    ];
    for (_, flag) in flags.into_iter().filter(|(is_requested, _)| *is_requested) {
        debug.control |= flag | KVM_GUESTDBG_ENABLE;
    }
    let count = request.hardware.len();
    if count > BREAKPOINTS {
        return Err(KvmError::TooManyBreakpoints {
            count,
            max: BREAKPOINTS,
        });
    }
    let mut dr7 = 0;
    for (index, (register, breakpoint)) in debug.arch.debugreg.iter_mut().zip(&request.hardware).enumerate() {
        *register = breakpoint.address;
        dr7 |= control(*breakpoint)? << (4 * index) << 16 | 1 << (2 * index + 1);
    }
    if let Some(register) = debug.arch.debugreg.get_mut(DR7) {
        *register = dr7;
    }
    Ok(debug)
}

/// The bits `R/W` and `LEN` of a breakpoint in `DR7` (SDM 3B, "Debug Control Register (DR7)").
fn control(breakpoint: HardwareBreakpoint) -> Result<u64, KvmError> {
    let HardwareBreakpoint { address, len, on, .. } = breakpoint;
    let access = match on {
        BreakOn::Execute => 0,
        BreakOn::Write => 1,
        BreakOn::ReadWrite => 3,
    };
    let encoded = match (len, on) {
        (1, _) => 0,
        (_, BreakOn::Execute) => return Err(KvmError::Breakpoint { address, len }),
        (2, _) => 1,
        (4, _) => 3,
        (8, _) => 2,
        _ => return Err(KvmError::Breakpoint { address, len }),
    };
    if !address.is_multiple_of(len.into()) {
        return Err(KvmError::Breakpoint { address, len });
    }
    Ok(encoded << 2 | access)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breakpoints_are_encoded_in_dr7() {
        let hardware = vec![
            HardwareBreakpoint::execute(0x4000_1001),
            HardwareBreakpoint::watch(0x4000_2008, 8, BreakOn::Write),
            HardwareBreakpoint::watch(0x4000_2004, 4, BreakOn::ReadWrite),
            HardwareBreakpoint::watch(0x4000_2002, 2, BreakOn::Write),
        ];
        let mut request = DebugRequest::default();
        request.hardware = hardware;
        let debug = guest_debug(&request).unwrap();
        assert_eq!(
            debug.arch.debugreg[..4],
            [0x4000_1001, 0x4000_2008, 0x4000_2004, 0x4000_2002]
        );
        assert_eq!(debug.arch.debugreg[7], 0x5f90_00aa);
        assert_eq!(debug.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP);
        assert_eq!(guest_debug(&DebugRequest::default()).unwrap().control, 0);
        request.hardware.push(HardwareBreakpoint::execute(0));
        assert!(matches!(
            guest_debug(&request),
            Err(KvmError::TooManyBreakpoints { count: 5, max: 4 })
        ));
    }

    #[test]
    fn impossible_breakpoints_are_refused() {
        for (address, len, on) in [
            (0x1000, 3, BreakOn::Write),
            (0x1002, 4, BreakOn::Write),
            (0x1000, 2, BreakOn::Execute),
            (0x1000, 0, BreakOn::ReadWrite),
        ] {
            let mut request = DebugRequest::default();
            request.hardware = vec![HardwareBreakpoint::watch(address, len, on)];
            let error = guest_debug(&request).unwrap_err();
            assert!(matches!(error, KvmError::Breakpoint { .. }), "{error}");
        }
    }
}
