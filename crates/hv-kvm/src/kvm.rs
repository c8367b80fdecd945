//! KVM file descriptors and ioctls that are common to all architectures.

mod vcpu;
mod vm;

use kvm_bindings::KVM_API_VERSION;
use kvm_ioctls::{Cap, Error, Kvm, VmFd};

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

/// Creates a virtual machine with `create`, an ioctl `KVM_CREATE_VM`. Repeats it while a signal interrupts it: the kernel does
/// not restart this ioctl.
///
/// # Errors
///
/// [`HarnessError::Request`].
pub fn create_vm(create: impl Fn() -> Result<VmFd, Error>) -> Result<VmFd, HarnessError> {
    loop {
        match create() {
            Err(error) if error.errno() == libc::EINTR => {}
            result => return result.map_err(|error| HarnessError::request("KVM_CREATE_VM", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn an_interrupted_creation_is_repeated() {
        let calls = Cell::new(0);
        let error = create_vm(|| {
            calls.set(calls.get() + 1);
            Err(Error::new(if calls.get() < 3 {
                libc::EINTR
            } else {
                libc::ENOMEM
            }))
        })
        .unwrap_err();
        assert_eq!(calls.get(), 3);
        let HarnessError::Request { request, source } = error else {
            panic!("{error}");
        };
        assert_eq!(
            (request, source.raw_os_error()),
            ("KVM_CREATE_VM", Some(libc::ENOMEM))
        );
    }
}
