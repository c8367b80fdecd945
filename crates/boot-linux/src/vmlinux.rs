//! Evidence whether an ELF file is a Linux kernel, a vmlinux.
//!
//! `e_entry` of an ELF file has no calling convention. The boot protocols of Linux start a vmlinux there, but so do those of
//! other kernels, of firmware and of user programs, each with its own convention.

use core::fmt;

/// Evidence for or against a vmlinux. A format crate attaches it to an ELF image as metadata; an image without it has
/// neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Evidence {
    /// The file has a mark of a Linux kernel.
    Linux(LinuxMark),
    /// The file has a mark of another kind of program.
    Other(OtherMark),
}

/// Mark of a Linux kernel in an ELF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinuxMark {
    /// A note with the name "Linux", such as `LINUX_ELFNOTE_BUILD_SALT` (`include/linux/build-salt.h`; since Linux 4.18).
    Note,
    /// The Xen note `XEN_ELFNOTE_GUEST_OS` with the value "linux" (`CONFIG_XEN_PV`, `CONFIG_PVH`).
    GuestOs,
    /// `e_entry` is a physical address, and the code is linked at `__START_KERNEL_map` (64 bits: 0xffffffff80000000) or
    /// `PAGE_OFFSET` (32 bits: 0xc0000000) above it, as by the linker script of Linux on x86.
    KernelMapping,
}

/// Mark of a program that is not a Linux kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OtherMark {
    /// The Xen note `XEN_ELFNOTE_GUEST_OS` with another value than "linux".
    GuestOs,
    /// A Multiboot header.
    Multiboot,
    /// A Multiboot2 header.
    Multiboot2,
    /// `EI_OSABI` is that of another operating system: NetBSD (2), FreeBSD (9) or OpenBSD (12).
    OsAbi(
        /// The value.
        u8,
    ),
    /// Notes of another operating system.
    OsNote(
        /// The name of the notes.
        OsName,
    ),
    /// The riscv code at the entry point uses machine-mode registers: firmware, or a kernel that runs without firmware.
    MachineMode,
    /// The note `NT_GNU_ABI_TAG`: a user program that is linked with a C library.
    GnuAbiTag,
    /// The dynamic table has a `DT_SONAME`: a shared object of user programs, such as a vDSO.
    SharedObject,
    /// The dynamic table has `DT_INIT` and `DT_FINI`: a user program with the start files of a C library.
    InitAndFini,
    /// The file has thread-local storage (`PT_TLS`) and loads its own ELF header: a user program.
    ThreadLocalStorage,
}

/// An operating system other than Linux whose kernels and programs have notes of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OsName {
    /// FreeBSD.
    FreeBsd,
    /// NetBSD.
    NetBsd,
    /// OpenBSD.
    OpenBsd,
}

impl OsName {
    /// Every name.
    pub const ALL: [Self; 3] = [Self::FreeBsd, Self::NetBsd, Self::OpenBsd];

    /// The name in notes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FreeBsd => "FreeBSD",
            Self::NetBsd => "NetBSD",
            Self::OpenBsd => "OpenBSD",
        }
    }
}

impl Evidence {
    /// The evidence as a clause about the file, "it".
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Linux(LinuxMark::Note) => "it has notes of the Linux kernel",
            Self::Linux(LinuxMark::GuestOs) => "its Xen notes name the guest OS `linux`",
            Self::Linux(LinuxMark::KernelMapping) => {
                "it has the link addresses and the physical entry point of a Linux kernel"
            }
            Self::Other(OtherMark::GuestOs) => "its Xen notes name another guest OS than `linux`",
            Self::Other(OtherMark::Multiboot) => "it has a Multiboot header and no mark of a Linux kernel",
            Self::Other(OtherMark::Multiboot2) => "it has a Multiboot2 header and no mark of a Linux kernel",
            Self::Other(OtherMark::OsAbi(_)) => "its EI_OSABI is that of another operating system than Linux",
            Self::Other(OtherMark::OsNote(OsName::FreeBsd)) => "it has notes of FreeBSD",
            Self::Other(OtherMark::OsNote(OsName::NetBsd)) => "it has notes of NetBSD",
            Self::Other(OtherMark::OsNote(OsName::OpenBsd)) => "it has notes of OpenBSD",
            Self::Other(OtherMark::MachineMode) => {
                "its code uses machine-mode registers, like firmware; kernels of this protocol run in supervisor mode"
            }
            Self::Other(OtherMark::GnuAbiTag) => "it is a user program with the ABI note of a C library",
            Self::Other(OtherMark::SharedObject) => {
                "it is a shared object of user programs: its dynamic table has a name (DT_SONAME)"
            }
            Self::Other(OtherMark::InitAndFini) => {
                "it is a user program with the start files of a C library (DT_INIT and DT_FINI)"
            }
            Self::Other(OtherMark::ThreadLocalStorage) => {
                "it is a user program with thread-local storage (PT_TLS) that loads its own ELF header"
            }
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.reason())
    }
}
