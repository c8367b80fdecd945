//! Everything that differs between guest architectures, as one table.
//!
//! Support for another architecture is another row: no code elsewhere asks which architecture it is.

use std::fmt;

use crate::apt::Suite;
use crate::guests::{self, Conformance};
use crate::kernel::Image;
use crate::qemu::Qemu;
use crate::test::loader::{self, Loader};

/// A guest architecture, as named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Arch {
    /// 64-bit x86.
    #[value(name = "x86_64")]
    X86_64,
    /// 64-bit Arm.
    #[value(name = "aarch64")]
    Aarch64,
    /// 64-bit RISC-V.
    #[value(name = "riscv64")]
    Riscv64,
}

/// What the tasks need to know about one architecture.
#[derive(Debug)]
pub(crate) struct ArchRow {
    pub(crate) arch: Arch,
    /// The name in paths, options and messages.
    pub(crate) name: &'static str,
    /// The emulated machines that can be the KVM host (L1). Tests run on each; what needs only one takes the first.
    pub(crate) labs: &'static [LabMachine],
    /// The architecture's name in Debian's archive.
    pub(crate) debian: &'static str,
    /// Debian's metapackage that depends on the newest kernel for virtual machines.
    pub(crate) kernel_meta: &'static str,
    /// Start of the kernel's file name below `boot/` of its package.
    pub(crate) kernel_file: &'static str,
    /// The format of that file, which is its extension among the fixtures.
    pub(crate) kernel_format: &'static str,
    /// True when the kernel holds a vmlinux, which is a fixture of its own.
    pub(crate) has_vmlinux: bool,
    /// Earlier releases of Debian whose kernels are fixtures too.
    pub(crate) earlier_kernels: &'static [Suite],
    /// Further boot images that the tests on this machine read.
    pub(crate) images: &'static [Image],
    /// The environment variable that names a kernel to use instead of Debian's.
    pub(crate) kernel_variable: &'static str,
    /// The environment variable that names the modules of that kernel (`/lib/modules/RELEASE`).
    pub(crate) modules_variable: &'static str,
    /// Modules that L1 loads, dependencies first; those built into the kernel are left out.
    pub(crate) modules: &'static [Module],
    /// The boot protocol of a stock Linux kernel, by the name that `vmboot` knows it by.
    pub(crate) linux_protocol: &'static str,
    /// The command line of a Linux guest: its console is the serial port, a panic ends it, and so does a reboot.
    pub(crate) linux_cmdline: &'static str,
    /// Rust target of std programs that run in L1 or in a Linux guest.
    pub(crate) std_target: &'static str,
    /// The bare-metal guests.
    pub(crate) guests: &'static [Conformance],
    /// The machines of QEMU whose own loader loads some of them.
    pub(crate) loaders: &'static [Loader],
    /// Debian packages to link std programs for this architecture on an x86_64 machine, each with a file it installs.
    pub(crate) link_packages: &'static [(&'static str, &'static str)],
    /// The linker for `std_target`, where that is not the default.
    pub(crate) linker: Option<&'static str>,
    /// Flags in `/proc/cpuinfo`, one of which tells that KVM on a machine of this architecture runs any guest.
    /// Empty: every machine of this architecture that has `/dev/kvm` does.
    pub(crate) kvm_flags: &'static [&'static str],
}

/// A KVM host machine as QEMU plays it.
#[derive(Debug)]
pub(crate) struct LabMachine {
    /// What tells it from the other machines of its architecture; empty for the only one.
    pub(crate) variant: &'static str,
    /// QEMU, in a version that can play this machine.
    pub(crate) qemu: Qemu,
    /// Machine and processor.
    pub(crate) args: &'static [&'static str],
    /// Kernel command line of L1, before what every architecture gets.
    pub(crate) cmdline: &'static str,
    /// The part of their names that the tests have which this machine is there for; none: all tests run on it.
    pub(crate) only: Option<&'static str>,
}

/// A kernel module that L1 loads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Module {
    /// Its file name up to `.ko`.
    pub(crate) name: &'static str,
    /// True when L1 works without it where the kernel does not have it.
    pub(crate) optional: bool,
}

impl Module {
    const fn required(name: &'static str) -> Self {
        Self {
            name,
            optional: false,
        }
    }

    const fn optional(name: &'static str) -> Self {
        Self { name, optional: true }
    }
}

/// Version 10.0.2 lets a guest of L1 read the CR4 that L1 gave it, though KVM intercepts that read, and what a stock Linux
/// guest's first process prints did not arrive.
pub(crate) const QEMU_X86_64: Qemu = Qemu::new("qemu-system-x86", "qemu-system-x86_64").before(
    (10, 0),
    "bookworm",
    &[
        "qemu-system-x86",
        "qemu-system-common",
        "qemu-system-data",
        "seabios",
    ],
);

static X86_64: ArchRow = ArchRow {
    arch: Arch::X86_64,
    name: "x86_64",
    labs: &[LabMachine {
        variant: "",
        qemu: QEMU_X86_64,
        // `max` under TCG has SVM with nested paging.
        args: &["-machine", "q35,accel=tcg", "-cpu", "max"],
        // QEMU 7.2 computes the flags of CMPXCHG16B from stale ones, so that one boot in ten of a kernel that uses it
        // crashes. Told not to, L1's kernel uses it no more, nor tells guests that they may; the processor still has it
        // for a guest that asks nobody.
        cmdline: "console=ttyS0 clearcpuid=cx16",
        only: None,
    }],
    debian: "amd64",
    kernel_meta: "linux-image-cloud-amd64",
    kernel_file: "vmlinuz-",
    kernel_format: "bzImage",
    has_vmlinux: true,
    earlier_kernels: &[Suite::Bookworm],
    images: &[
        Image::file("memtest86+", "boot/memtest86+x64.bin", "memtest86+x64.bin"),
        Image::file("ipxe", "usr/lib/ipxe/ipxe.lkrn", "ipxe.lkrn"),
        Image::file("syslinux-common", "usr/lib/syslinux/memdisk", "memdisk"),
        Image::gzip(
            "xen-hypervisor-4.20-amd64",
            "boot/xen-4.20-amd64.gz",
            "xen-4.20.elf",
        ),
    ],
    kernel_variable: "XTASK_KERNEL_X86_64",
    modules_variable: "XTASK_MODULES_X86_64",
    modules: &[
        Module::required("irqbypass"),
        // Kernels with SEV need it below kvm-amd; the cloud kernel is built without.
        Module::optional("ccp"),
        Module::required("kvm"),
        Module::required("kvm-amd"),
    ],
    linux_protocol: "linux",
    linux_cmdline: "console=ttyS0 panic=-1 reboot=k",
    std_target: "x86_64-unknown-linux-gnu",
    guests: guests::X86_64,
    loaders: loader::X86_64,
    link_packages: &[
        ("gcc", "/usr/bin/cc"),
        ("libc6-dev", "/usr/lib/x86_64-linux-gnu/libc.a"),
    ],
    linker: None,
    kvm_flags: &["vmx", "svm"],
};

pub(crate) const QEMU_AARCH64: Qemu = Qemu::new("qemu-system-arm", "qemu-system-aarch64");

static AARCH64: ArchRow = ArchRow {
    arch: Arch::Aarch64,
    name: "aarch64",
    labs: &[
        LabMachine {
            variant: "GICv3",
            qemu: QEMU_AARCH64,
            args: &[
                "-machine",
                "virt,virtualization=on,gic-version=3",
                "-cpu",
                "max,pauth-impdef=on",
            ],
            cmdline: "console=ttyAMA0",
            only: None,
        },
        // QEMU's GICv3 cannot play a GICv2 for guests, as some real ones can.
        LabMachine {
            variant: "GICv2",
            qemu: QEMU_AARCH64,
            args: &[
                "-machine",
                "virt,virtualization=on,gic-version=2",
                "-cpu",
                "max,pauth-impdef=on",
            ],
            cmdline: "console=ttyAMA0",
            only: Some("gicv2"),
        },
    ],
    debian: "arm64",
    kernel_meta: "linux-image-cloud-arm64",
    kernel_file: "vmlinuz-",
    kernel_format: "Image",
    has_vmlinux: false,
    earlier_kernels: &[],
    images: &[
        Image::kernel("linux-image-arm64", "debian-13.Image"),
        Image::kernel("linux-image-arm64-16k", "debian-13-16k.Image"),
    ],
    kernel_variable: "XTASK_KERNEL_AARCH64",
    modules_variable: "XTASK_MODULES_AARCH64",
    modules: &[Module::required("virtio_console")],
    linux_protocol: "fdt-arm64",
    linux_cmdline: "console=ttyS0 panic=-1",
    std_target: "aarch64-unknown-linux-gnu",
    guests: guests::AARCH64,
    loaders: loader::AARCH64,
    link_packages: &[
        ("gcc-aarch64-linux-gnu", "/usr/bin/aarch64-linux-gnu-gcc"),
        ("libc6-dev-arm64-cross", "/usr/aarch64-linux-gnu/lib/libc.a"),
    ],
    linker: Some("aarch64-linux-gnu-gcc"),
    kvm_flags: &[],
};

/// Real in some releases of Debian, provided by another package in others.
pub(crate) const QEMU_RISCV64: Qemu = Qemu::new("qemu-system-riscv64", "qemu-system-riscv64");

/// Version 7.2 has no Ssaia to switch on by its name of today, and a kernel hangs with its AIA.
pub(crate) const QEMU_RISCV64_AIA: Qemu = QEMU_RISCV64.since(
    (10, 0),
    "bookworm-backports",
    &["qemu-system-riscv", "qemu-system-data", "opensbi"],
);

static RISCV64: ArchRow = ArchRow {
    arch: Arch::Riscv64,
    name: "riscv64",
    labs: &[
        // KVM in here has no interrupt controller; it is in user space, a PLIC.
        LabMachine {
            variant: "PLIC",
            qemu: QEMU_RISCV64,
            // `-cpu max` makes a guest of L1 hang; `rv64` with the H extension does not.
            args: &["-machine", "virt", "-cpu", "rv64,h=true"],
            cmdline: "console=ttyS0",
            only: None,
        },
        // KVM in here has one. Under QEMU 7.2 the kernel hangs with these.
        LabMachine {
            variant: "AIA",
            qemu: QEMU_RISCV64_AIA,
            args: &[
                "-machine",
                "virt,aia=aplic-imsic",
                "-cpu",
                "rv64,h=true,smaia=true,ssaia=true",
            ],
            cmdline: "console=ttyS0",
            only: None,
        },
    ],
    debian: "riscv64",
    kernel_meta: "linux-image-riscv64",
    kernel_file: "vmlinux-",
    kernel_format: "Image",
    has_vmlinux: false,
    earlier_kernels: &[],
    images: &[],
    kernel_variable: "XTASK_KERNEL_RISCV64",
    modules_variable: "XTASK_MODULES_RISCV64",
    modules: &[Module::required("virtio_console"), Module::required("kvm")],
    linux_protocol: "fdt-riscv64",
    linux_cmdline: "console=ttyS0 panic=-1",
    std_target: "riscv64gc-unknown-linux-gnu",
    guests: guests::RISCV64,
    loaders: loader::RISCV64,
    link_packages: &[
        ("gcc-riscv64-linux-gnu", "/usr/bin/riscv64-linux-gnu-gcc"),
        ("libc6-dev-riscv64-cross", "/usr/riscv64-linux-gnu/lib/libc.a"),
    ],
    linker: Some("riscv64-linux-gnu-gcc"),
    kvm_flags: &[],
};

impl Arch {
    /// The row of this architecture.
    pub(crate) fn row(self) -> &'static ArchRow {
        match self {
            Self::X86_64 => &X86_64,
            Self::Aarch64 => &AARCH64,
            Self::Riscv64 => &RISCV64,
        }
    }
}

impl ArchRow {
    /// The machine that `run` and other tasks take, which need no more than one.
    pub(crate) fn first_lab(&self) -> &'static LabMachine {
        &self.labs[0]
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().name)
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_architecture_has_a_row_of_its_own_name() {
        for arch in Arch::value_variants() {
            let row = arch.row();
            assert_eq!(row.arch, *arch);
            let on_command_line = arch.to_possible_value().unwrap();
            assert_eq!(row.name, on_command_line.get_name());
            assert!(row.std_target.starts_with(&row.name[..5]));
        }
    }

    #[test]
    fn machines_of_an_architecture_are_told_apart() {
        for arch in Arch::value_variants() {
            let row = arch.row();
            let mut variants: Vec<_> = row.labs.iter().map(|lab| lab.variant).collect();
            variants.sort_unstable();
            variants.dedup();
            assert_eq!(variants.len(), row.labs.len(), "{arch}");
            assert_eq!(row.first_lab().variant, row.labs[0].variant);
        }
    }
}
