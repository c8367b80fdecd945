//! What can go wrong between KVM and the harness of any architecture.

use std::io;

use boot_core::{Arch, GuestRange};

/// An operation on a KVM virtual machine failed, in a way that does not depend on the architecture. The harnesses have
/// errors of their own, of which this is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HarnessError {
    /// This program was built for another host.
    #[error("{guest} guests run on Linux on {guest} only, and this program was built for another host")]
    WrongHost {
        /// The architecture of the harness.
        guest: Arch,
    },
    /// KVM's device file cannot be opened.
    #[error("/dev/kvm cannot be opened{}", open_advice(.0))]
    Open(#[source] io::Error),
    /// KVM speaks another version of its interface.
    #[error("KVM has interface version {found}, this harness needs {expected}")]
    ApiVersion {
        /// What KVM has.
        found: i32,
        /// What is needed.
        expected: i32,
    },
    /// KVM lacks something that the harness cannot do without, or that was asked for.
    #[error("this KVM does not have {name}")]
    MissingCapability {
        /// The capability, by its name in the kernel's interface.
        name: &'static str,
    },
    /// KVM, or the host's kernel on its behalf, refused a request.
    #[error("KVM refused {request}{}", request_advice(.source))]
    Request {
        /// The request, by its name in the kernel's interface.
        request: &'static str,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// The machine has no such vCPU.
    #[error("the machine was made for {count} vCPUs, so there is no vCPU {index}")]
    NoSuchVcpu {
        /// The vCPU that was asked for, counted from 0.
        index: u32,
        /// How many there are.
        count: u32,
    },
    /// A state of another architecture was given to a vCPU.
    #[error("a state for {found} cannot be given to a vCPU of {expected}")]
    WrongArch {
        /// The vCPU's architecture.
        expected: Arch,
        /// The state's architecture.
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
    SlotUnused {
        /// The slot.
        slot: u32,
    },
    /// RAM must consist of whole pages.
    #[error("RAM at {range} does not consist of whole pages of {page:#x} bytes")]
    RamUnaligned {
        /// Its addresses.
        range: GuestRange,
        /// The host's page size in bytes.
        page: u64,
    },
    /// RAM must be addressable.
    #[error("RAM at {range} reaches past the {bits} bits of guest physical addresses that this host has")]
    RamBeyondAddresses {
        /// Its addresses.
        range: GuestRange,
        /// How many bits addresses have.
        bits: u32,
    },
    /// RAM may not lie where the machine has its interrupt controllers.
    #[error("RAM at {range} overlaps {reserved}, which the machine uses for itself; leave a hole there")]
    RamReserved {
        /// Its addresses.
        range: GuestRange,
        /// What it overlaps.
        reserved: GuestRange,
    },
    /// RAM may not overlap RAM.
    #[error("RAM at {range} overlaps slot {other}")]
    RamOverlap {
        /// Its addresses.
        range: GuestRange,
        /// The slot it overlaps.
        other: u32,
    },
}

impl HarnessError {
    /// KVM refused `request`, named as in the kernel's interface, with `source`.
    #[must_use]
    pub fn refused(request: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Request {
            request,
            source: source.into(),
        }
    }
}

/// What a person can do about a `/dev/kvm` that cannot be opened.
fn open_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            ": load the kernel's module for KVM, and see that the machine lets its kernel use virtualization (VMX or SVM, \
             EL2, or the H extension)"
        }
        io::ErrorKind::PermissionDenied => ": this user may not read and write it; its group, often kvm, may",
        _ => "",
    }
}

/// What a person can do about a refusal, where its reason lies outside the request.
fn request_advice(error: &io::Error) -> &'static str {
    /// `ENFILE` and `EMFILE`, which have no kind of their own.
    const TOO_MANY_FILES: [i32; 2] = [23, 24];
    match error.kind() {
        io::ErrorKind::OutOfMemory => ": the host has too little free memory",
        io::ErrorKind::ResourceBusy => ": something else on this host uses its virtualization",
        _ if error
            .raw_os_error()
            .is_some_and(|number| TOO_MANY_FILES.contains(&number)) =>
        {
            ": too many files are open; each machine and each vCPU needs some (ulimit -n)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn errors_say_what_to_do_where_it_depends_on_the_answer() {
        let check = |error: HarnessError, expected: &str| {
            let text = error.to_string();
            match expected {
                "" => assert!(!text.contains(':'), "{text}"),
                _ => assert!(text.contains(expected), "{text:?} lacks {expected:?}"),
            }
            assert!(error.source().is_some(), "{text}");
        };
        let open = |number| HarnessError::Open(io::Error::from_raw_os_error(number));
        let refused = |number| HarnessError::refused("KVM_CREATE_VM", io::Error::from_raw_os_error(number));
        // Linux's numbers: ENOENT, EPERM, EACCES, ENOMEM, EBUSY, EINVAL, ENFILE, EMFILE.
        check(open(2), "module");
        check(open(13), "group");
        check(open(22), "");
        check(refused(12), "memory");
        check(refused(16), "something else");
        check(refused(23), "ulimit");
        check(refused(24), "ulimit");
        check(refused(22), "");
        assert!(refused(22).to_string().contains("KVM_CREATE_VM"));
    }
}
