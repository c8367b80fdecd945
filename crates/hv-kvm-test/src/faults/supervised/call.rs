//! System calls that can fail on request.

/// A supervised system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::faults) enum Call {
    /// An ioctl of KVM, by its request.
    Kvm(u32),
    Mmap,
    MemfdCreate,
    Ftruncate,
    Openat,
}

/// The type of the requests of KVM, bits 8 to 15 (`KVMIO` in Linux `include/uapi/linux/kvm.h`).
pub(super) const KVM_TYPE: u32 = 0xae;

impl Call {
    /// The other calls than those of KVM, with their numbers on this architecture.
    pub(super) const OF_HOST: [(libc::c_long, Self); 4] = [
        (libc::SYS_mmap, Self::Mmap),
        (libc::SYS_memfd_create, Self::MemfdCreate),
        (libc::SYS_ftruncate, Self::Ftruncate),
        (libc::SYS_openat, Self::Openat),
    ];

    pub(in crate::faults) fn family(self) -> Family {
        match self {
            Self::Kvm(_) => Family::Kvm,
            Self::Mmap | Self::MemfdCreate | Self::Ftruncate | Self::Openat => Family::Host,
        }
    }
}

/// Calls that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::faults) enum Family {
    /// Ioctls of KVM.
    Kvm,
    /// Calls for memory and files.
    Host,
}
