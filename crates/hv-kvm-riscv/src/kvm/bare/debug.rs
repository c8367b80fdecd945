//! Requested debug exceptions (`KVM_SET_GUEST_DEBUG`).
#![expect(unsafe_code, reason = "system calls: KVM_SET_GUEST_DEBUG, riscv_flush_icache")]

use hv_core::{DebugRequest, DebugVcpu};
use kvm_bindings::{KVM_GUESTDBG_ENABLE, KVMIO, kvm_guest_debug};
use kvm_ioctls::Error;
use vmm_sys_util::{ioctl::ioctl_with_ref, ioctl_iow_nr};

use super::vcpu::KvmBareVcpu;
use crate::{KvmError, kvm::request::failed_request};

ioctl_iow_nr!(KVM_SET_GUEST_DEBUG, KVMIO, 0x9b, kvm_guest_debug);

impl DebugVcpu for KvmBareVcpu {
    /// KVM of riscv64 has breakpoint instructions only (`EBREAK` and `C.EBREAK`, since Linux 6.10). Code that this thread wrote before the call,
    /// breakpoint instructions among it, is what the guest executes after it.
    fn set_debug(&mut self, request: &DebugRequest) -> Result<(), KvmError> {
        if request.step {
            return Err(KvmError::UnsupportedDebug { what: "single steps" });
        }
        if !request.hardware.is_empty() {
            return Err(KvmError::UnsupportedDebug {
                what: "hardware breakpoints",
            });
        }
        let mut debug = kvm_guest_debug::default();
        if request.breakpoint_instructions {
            debug.control = KVM_GUESTDBG_ENABLE;
        }
        // SAFETY: the kernel reads one `kvm_guest_debug` from a valid pointer.
        let result = unsafe { ioctl_with_ref(self.file.fd(), KVM_SET_GUEST_DEBUG(), &debug) };
        if result != 0 {
            return Err(failed_request("KVM_SET_GUEST_DEBUG")(Error::last()));
        }
        self.is_debugged = request.breakpoint_instructions;
        flush_instructions()
    }
}

/// Number of the system call `riscv_flush_icache`: `__NR_riscv_flush_icache` of `asm/unistd.h`.
const RISCV_FLUSH_ICACHE: libc::c_long = 259;

/// Makes the harts of this process fetch the code that it wrote: `FENCE.I` by `riscv_flush_icache`. Guests run on the same harts.
fn flush_instructions() -> Result<(), KvmError> {
    let everything: libc::c_ulong = 0;
    // SAFETY: the system call accesses no memory of the process; the kernel ignores the addresses.
    let result = unsafe { libc::syscall(RISCV_FLUSH_ICACHE, everything, everything, everything) };
    if result == 0 {
        Ok(())
    } else {
        Err(failed_request("riscv_flush_icache")(Error::last()))
    }
}
