//! Errors of KVM that do not depend on the architecture.

use std::io;

use boot_core::{Arch, GuestRange};

/// Failure of an operation on a KVM virtual machine that can occur on every architecture. `KvmError` of each harness
/// contains it as one variant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HarnessError {
    /// The program was built for a host of another architecture or operating system.
    #[error(
        "{guest} guests need KVM on a Linux host of architecture {guest}; this program was built for another host"
    )]
    UnsupportedHost {
        /// Architecture of the guest.
        guest: Arch,
    },
    /// `/dev/kvm` cannot be opened.
    #[error("/dev/kvm cannot be opened{}", open_advice(.0))]
    Open(#[source] io::Error),
    /// The version of the KVM API is not supported.
    #[error("the KVM API has version {found}, version {expected} is needed")]
    ApiVersion {
        /// Version of KVM.
        found: i32,
        /// Supported version.
        expected: i32,
    },
    /// KVM lacks a required or requested capability.
    #[error("KVM of this host lacks {name}")]
    MissingCapability {
        /// Name of the capability in the KVM API.
        name: &'static str,
    },
    /// An ioctl or another system call failed.
    #[error("{request} failed{}", request_advice(.source))]
    Request {
        /// Name of the ioctl or system call.
        request: &'static str,
        /// Error of the kernel.
        #[source]
        source: io::Error,
    },
    /// The vCPU number is out of range.
    #[error("vCPU {index} is out of range: the machine has {count} vCPUs, counted from 0")]
    NoSuchVcpu {
        /// Number of the vCPU, counted from 0.
        index: u32,
        /// Number of vCPUs.
        count: u32,
    },
    /// A CPU state is for another architecture than the vCPU.
    #[error("the CPU state is for {found}, but the vCPU is {expected}")]
    ArchMismatch {
        /// Architecture of the vCPU.
        expected: Arch,
        /// Architecture of the state.
        found: Arch,
    },
    /// A RAM slot is in use.
    #[error("RAM slot {slot} is in use; unmap it first")]
    SlotInUse {
        /// The slot.
        slot: u32,
    },
    /// A RAM slot is not in use.
    #[error("RAM slot {slot} is not in use")]
    SlotNotInUse {
        /// The slot.
        slot: u32,
    },
    /// RAM does not consist of whole pages.
    #[error("RAM at {range} does not consist of whole pages of {page_size:#x} bytes")]
    RamUnaligned {
        /// Range of the RAM.
        range: GuestRange,
        /// Page size of the host in bytes.
        page_size: u64,
    },
    /// RAM extends past the guest physical address space.
    #[error("RAM at {range} extends past the guest physical address space of {bits} bits")]
    RamOutOfRange {
        /// Range of the RAM.
        range: GuestRange,
        /// Number of address bits.
        bits: u32,
    },
    /// RAM overlaps a range that the virtual machine reserves, such as that of an interrupt controller.
    #[error("RAM at {range} overlaps the reserved range {reserved}")]
    RamReserved {
        /// Range of the RAM.
        range: GuestRange,
        /// The reserved range.
        reserved: GuestRange,
    },
    /// RAM overlaps that of another slot.
    #[error("RAM at {range} overlaps slot {other}")]
    RamOverlap {
        /// Range of the RAM.
        range: GuestRange,
        /// The other slot.
        other: u32,
    },
}

impl HarnessError {
    /// A failure of the ioctl or system call `request` with `source`.
    #[must_use]
    pub fn request(request: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Request {
            request,
            source: source.into(),
        }
    }
}

/// Advice for a `/dev/kvm` that cannot be opened.
fn open_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            ": load the KVM module of the kernel, and enable hardware virtualization (VMX or SVM, EL2, or the H extension)"
        }
        io::ErrorKind::PermissionDenied => {
            ": this process needs read and write access; a user gets it by membership of the group kvm, a container by `--device /dev/kvm`"
        }
        _ => "",
    }
}

/// Advice for errors with a known cause on the host.
fn request_advice(error: &io::Error) -> &'static str {
    /// `ENFILE` and `EMFILE`, which have no kind of their own.
    const TOO_MANY_FILES: [i32; 2] = [23, 24];
    match error.kind() {
        io::ErrorKind::OutOfMemory => ": the host has too little free memory",
        io::ErrorKind::ResourceBusy => ": another hypervisor of this host is active",
        _ if error
            .raw_os_error()
            .is_some_and(|number| TOO_MANY_FILES.contains(&number)) =>
        {
            ": too many open files; raise the limit (ulimit -n)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn errors_have_advice_where_the_cause_is_known() {
        let check = |error: HarnessError, expected: &str| {
            let text = error.to_string();
            match expected {
                "" => assert!(!text.contains(':'), "{text}"),
                _ => assert!(text.contains(expected), "{text:?} lacks {expected:?}"),
            }
            assert!(error.source().is_some(), "{text}");
        };
        let open = |number| HarnessError::Open(io::Error::from_raw_os_error(number));
        let refused = |number| HarnessError::request("KVM_CREATE_VM", io::Error::from_raw_os_error(number));
        // Linux's numbers: ENOENT, EPERM, EACCES, ENOMEM, EBUSY, EINVAL, ENFILE, EMFILE.
        check(open(2), "module");
        check(open(13), "group");
        check(open(22), "");
        check(refused(12), "memory");
        check(refused(16), "another hypervisor");
        check(refused(23), "ulimit");
        check(refused(24), "ulimit");
        check(refused(22), "");
        assert!(refused(22).to_string().contains("KVM_CREATE_VM"));
    }
}
