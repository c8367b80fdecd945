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
use kvm_ioctls::{Error, Kvm, VmFd};

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
/// [`HarnessError::Open`], [`HarnessError::Request`], [`HarnessError::ApiVersion`] and [`HarnessError::MissingCapability`].
pub fn open(capabilities: &[Capability]) -> Result<Kvm, HarnessError> {
    let kvm = open_device()?;
    query(&kvm, capabilities)?.check()?;
    Ok(kvm)
}

/// Opens `/dev/kvm` and queries the API version, the capabilities of every harness and those in `capabilities`.
///
/// # Errors
///
/// [`HarnessError::Open`] and [`HarnessError::Request`].
pub fn probe(capabilities: &[Capability]) -> Result<KvmProbe, HarnessError> {
    query(&open_device()?, capabilities)
}

/// Value of the capability `number` (`KVM_CAP_*`) of this host's KVM: zero if KVM lacks it.
///
/// # Errors
///
/// [`HarnessError::Request`]: a failed query is no missing capability.
pub fn capability(kvm: &Kvm, number: u32) -> Result<i32, HarnessError> {
    returned("KVM_CHECK_EXTENSION", || kvm.check_extension_raw(number.into()))
}

/// As [`capability`], for one virtual machine.
///
/// # Errors
///
/// As [`capability`].
pub fn vm_capability(vm: &VmFd, number: u32) -> Result<i32, HarnessError> {
    returned("KVM_CHECK_EXTENSION", || vm.check_extension_raw(number.into()))
}

/// The value that an ioctl returns, which is negative if it failed.
fn returned(request: &'static str, ioctl: impl FnOnce() -> i32) -> Result<i32, HarnessError> {
    match ioctl() {
        value if value < 0 => Err(HarnessError::request(request, Error::last())),
        value => Ok(value),
    }
}

fn open_device() -> Result<Kvm, HarnessError> {
    Kvm::new().map_err(|error| HarnessError::Open(error.into()))
}

fn query(kvm: &Kvm, capabilities: &[Capability]) -> Result<KvmProbe, HarnessError> {
    let api_version = returned("KVM_GET_API_VERSION", || kvm.get_api_version())?;
    let values = COMMON
        .iter()
        .chain(capabilities)
        .map(|known| Ok((*known, capability(kvm, known.number)?)))
        .collect::<Result<_, HarnessError>>()?;
    Ok(KvmProbe::new(api_version, values))
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
    fn a_failed_query_is_no_missing_capability() {
        let failed = returned("KVM_CHECK_EXTENSION", || {
            let error = std::fs::File::open("/dev/null/none");
            assert!(error.is_err());
            -1
        });
        let text = match failed {
            Err(HarnessError::Request { request, source }) => format!("{request}: {:?}", source.kind()),
            other => format!("{other:?}"),
        };
        assert_eq!(text, "KVM_CHECK_EXTENSION: NotADirectory");
        assert!(matches!(returned("KVM_CHECK_EXTENSION", || 0), Ok(0)));
    }

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
