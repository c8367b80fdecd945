//! KVM file descriptors and ioctls that are common to all architectures.

mod dirty_log;
mod immediate_exit;
mod process;
mod vcpu;
mod vm;

use kvm_bindings::{
    KVM_API_VERSION, KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_MAX_VCPUS, KVM_CAP_MP_STATE, KVM_CAP_NR_MEMSLOTS,
    KVM_CAP_NR_VCPUS, KVM_CAP_USER_MEMORY,
};
use kvm_ioctls::{Error, Kvm};

pub use self::{
    process::shared,
    vcpu::{RunStatus, VcpuFile},
    vm::VmFile,
};
use crate::{Capability, HarnessError, KvmProbe};

// The version is 12 since Linux 2.6.22 and does not change (api.rst, 4.1).
const _: () = assert!(KVM_API_VERSION == KvmProbe::API_VERSION.cast_unsigned());

/// Capabilities that every harness asks for.
const COMMON: [Capability; 6] = [
    Capability::required(
        KVM_CAP_USER_MEMORY,
        "KVM_CAP_USER_MEMORY",
        "guest RAM is memory of this process",
    ),
    Capability::required(
        KVM_CAP_IMMEDIATE_EXIT,
        "KVM_CAP_IMMEDIATE_EXIT",
        "a vCPU can be stopped at any time",
    ),
    Capability::required(
        KVM_CAP_MP_STATE,
        "KVM_CAP_MP_STATE",
        "vCPUs can be started and halted",
    ),
    Capability::limit(
        KVM_CAP_NR_VCPUS,
        "KVM_CAP_NR_VCPUS",
        "recommended number of vCPUs",
    ),
    Capability::limit(KVM_CAP_MAX_VCPUS, "KVM_CAP_MAX_VCPUS", "largest number of vCPUs"),
    Capability::limit(
        KVM_CAP_NR_MEMSLOTS,
        "KVM_CAP_NR_MEMSLOTS",
        "largest number of RAM slots",
    ),
];

/// Opens `/dev/kvm` and checks the API version and the required capabilities: those of every harness and those in
/// `capabilities`.
///
/// # Errors
///
/// [`HarnessError::Open`], [`HarnessError::ApiVersion`] and [`HarnessError::MissingCapability`].
pub fn open(capabilities: &[Capability]) -> Result<Kvm, HarnessError> {
    let kvm = open_device()?;
    query(&kvm, capabilities).check()?;
    Ok(kvm)
}

/// Opens `/dev/kvm` and queries the API version, the capabilities of every harness and those in `capabilities`.
///
/// # Errors
///
/// [`HarnessError::Open`].
pub fn probe(capabilities: &[Capability]) -> Result<KvmProbe, HarnessError> {
    Ok(query(&open_device()?, capabilities))
}

fn open_device() -> Result<Kvm, HarnessError> {
    Kvm::new().map_err(|error| HarnessError::Open(error.into()))
}

fn query(kvm: &Kvm, capabilities: &[Capability]) -> KvmProbe {
    let values = COMMON
        .iter()
        .chain(capabilities)
        .map(|capability| (*capability, kvm.check_extension_raw(capability.number.into())))
        .collect();
    KvmProbe::new(kvm.get_api_version(), values)
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
