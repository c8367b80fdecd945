//! Exits that are specific to riscv64.
#![expect(unsafe_code, reason = "reads and writes the unions of `struct kvm_run`")]

use hv_core::{BackEndCall, Fault, VcpuExit};
use hv_kvm::{VcpuFile, exit_reason};
use kvm_bindings::KVM_EXIT_RISCV_CSR;
use kvm_ioctls::{Error, VcpuFd};

use super::{one_reg, request::failed_request};
use crate::{KvmError, sbi::SbiCall, seed_csr};

/// Converts errors of `KVM_RUN` that guest actions cause to a fault: KVM has no exit reason for them.
pub(super) fn fault_from_errno(error: Error, fd: &VcpuFd) -> Result<Fault, KvmError> {
    let meaning = match error.errno() {
        libc::EOPNOTSUPP => {
            "the guest executed code outside RAM, or accessed a device with an instruction that KVM cannot emulate"
        }
        libc::EIO => "the guest made a misaligned access to a device, which KVM cannot emulate",
        libc::EFAULT => {
            "the guest raised a trap that KVM does not forward, or the host could not map guest memory"
        }
        _ => return Err(failed_request("KVM_RUN")(error)),
    };
    Ok(Fault::InternalError {
        suberror: error.errno().cast_unsigned(),
        meaning: Some(meaning),
        pc: one_reg::pc(fd),
        instruction: Vec::new(),
        data: Vec::new(),
    })
}

/// The call of an exit `KVM_EXIT_RISCV_SBI`.
pub(super) fn sbi_call(file: &mut VcpuFile) -> SbiCall {
    // SAFETY: this field of the union consists of integers, for which all bit patterns are valid.
    let sbi = unsafe { file.kvm_run().__bindgen_anon_1.riscv_sbi };
    SbiCall {
        extension: sbi.extension_id,
        function: sbi.function_id,
        args: sbi.args,
    }
}

/// Sets the values that `a0` and `a1` have after the call of an exit `KVM_EXIT_RISCV_SBI`, until the vCPU is entered.
pub(super) fn set_sbi_result(file: &mut VcpuFile, values: [u64; 2]) {
    // SAFETY: this field of the union consists of integers, for which all bit patterns are valid.
    let sbi = unsafe { &mut file.kvm_run().__bindgen_anon_1.riscv_sbi };
    sbi.ret = values;
}

/// The register number of an exit `KVM_EXIT_RISCV_CSR`.
pub(super) fn csr_number(file: &mut VcpuFile) -> u64 {
    // SAFETY: as in `sbi_call`.
    unsafe { file.kvm_run().__bindgen_anon_1.riscv_csr }.csr_num
}

/// Handles an access to a CSR that KVM forwards to user space: `seed` is the only one that this harness emulates.
pub(super) fn handle_csr(file: &mut VcpuFile) -> VcpuExit<'_> {
    let number = csr_number(file);
    if number != seed_csr::NUMBER {
        return exit_reason::unsupported(KVM_EXIT_RISCV_CSR);
    }
    let mut entropy = [0; 2];
    // SAFETY: the buffer is valid for writes of its length.
    let result = unsafe { libc::getrandom(entropy.as_mut_ptr().cast(), entropy.len(), 0) };
    // SAFETY: as in `set_sbi_result`.
    let csr = unsafe { &mut file.kvm_run().__bindgen_anon_1.riscv_csr };
    csr.ret_value = match usize::try_from(result) {
        Ok(len) if len == entropy.len() => seed_csr::value(Some(u16::from_le_bytes(entropy))),
        _ => seed_csr::value(None),
    };
    VcpuExit::Call(BackEndCall::Csr { number })
}
