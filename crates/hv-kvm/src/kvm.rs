//! KVM file descriptors and ioctls that are common to all architectures.

mod immediate_exit;
mod vcpu;
mod vm;

use kvm_bindings::KVM_API_VERSION;
use kvm_ioctls::{Cap, Error, Kvm};

pub use self::{
    vcpu::{RunStatus, VcpuFile},
    vm::VmFile,
};
use crate::HarnessError;

/// Opens `/dev/kvm` and checks the API version, the capabilities that every harness needs, and those in `needed`: pairs of a
/// capability and its name in the KVM API.
///
/// # Errors
///
/// [`HarnessError::Open`], [`HarnessError::ApiVersion`] and [`HarnessError::MissingCapability`].
pub fn open(needed: &[(Cap, &'static str)]) -> Result<Kvm, HarnessError> {
    const ALWAYS: [(Cap, &str); 3] = [
        (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
        (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
        (Cap::MpState, "KVM_CAP_MP_STATE"),
    ];
    let kvm = Kvm::new().map_err(|error| HarnessError::Open(error.into()))?;
    let expected = i32::try_from(KVM_API_VERSION).unwrap_or(i32::MAX);
    let found = kvm.get_api_version();
    if found != expected {
        return Err(HarnessError::ApiVersion { found, expected });
    }
    for &(cap, name) in ALWAYS.iter().chain(needed) {
        if !kvm.check_extension(cap) {
            return Err(HarnessError::MissingCapability { name });
        }
    }
    Ok(kvm)
}

/// Makes a request that creates a virtual machine, a vCPU, a device or a RAM slot. Repeats it while a signal interrupts it
/// (`EINTR`): the kernel does not restart these ioctls.
///
/// # Errors
///
/// Other errors of `request`.
pub fn retry_interrupted<T>(mut request: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match request() {
            Err(error) if error.errno() == libc::EINTR => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_request_is_repeated() {
        let check = |last: Result<u32, libc::c_int>| {
            let mut calls = 0;
            let result = retry_interrupted(|| {
                calls += 1;
                if calls < 3 {
                    Err(Error::new(libc::EINTR))
                } else {
                    last.map_err(Error::new)
                }
            });
            assert_eq!(calls, 3);
            assert_eq!(result.map_err(Error::errno), last);
        };
        check(Ok(7));
        check(Err(libc::ENOMEM));
    }
}
