//! Table of everything that differs between guest architectures.
//!
//! Another architecture is another row: other code reads the row and does not test the architecture.

use std::fmt;

use crate::firmware::platform::{Platform, tables};
use crate::guests::builds::{self, CGuest, Conformance, SandboxTarget};
use crate::kernel::images::Image;
use crate::qemu::{Qemu, versions};
use crate::suite::Suite;
use crate::test::loader::machines::{self, Loader};

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

/// Properties of one architecture.
#[derive(Debug)]
pub(crate) struct ArchRow {
    pub(crate) arch: Arch,
    /// The name in paths, options and messages.
    pub(crate) name: &'static str,
    /// The emulated KVM host machines (L1). Tests run on each; other tasks use the first.
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
    /// Earlier releases of Debian whose kernels are fixtures as well.
    pub(crate) earlier_kernels: &'static [Suite],
    /// Further boot images that the tests on this machine read.
    pub(crate) images: &'static [Image],
    /// The environment variable that names a kernel to use instead of Debian's.
    pub(crate) kernel_variable: &'static str,
    /// The environment variable that names the modules of that kernel (`/lib/modules/RELEASE`).
    pub(crate) modules_variable: &'static str,
    /// Modules that L1 loads, dependencies first; those built into the kernel are left out.
    pub(crate) modules: &'static [Module],
    /// `vmboot`'s name of the boot protocol of a stock Linux kernel.
    pub(crate) linux_protocol: &'static str,
    /// The command line of a Linux guest: its console is the serial port, a panic ends it, and so does a reboot.
    pub(crate) linux_cmdline: &'static str,
    /// Rust target of std programs that run in L1 or in a Linux guest.
    pub(crate) std_target: &'static str,
    /// The bare-metal guests.
    pub(crate) guests: &'static [Conformance],
    /// The targets of programs that run in sandboxes.
    pub(crate) sandbox_targets: &'static [SandboxTarget],
    /// Those of them that are written in C.
    pub(crate) c_guests: &'static [CGuest],
    /// The machines of QEMU whose own loader loads some of them.
    pub(crate) loaders: &'static [Loader],
    /// Boot loaders, machines and rivals of the firmware.
    pub(crate) firmware: &'static Platform,
    /// Debian packages to link std programs for this architecture on an x86_64 machine, each with a file it installs.
    pub(crate) link_packages: &'static [(&'static str, &'static str)],
    /// The linker for `std_target`, where that is not the default.
    pub(crate) linker: Option<&'static str>,
    /// Flags in `/proc/cpuinfo`, of which one is present when KVM can run any guest. Empty: `/dev/kvm` is sufficient.
    pub(crate) kvm_flags: &'static [&'static str],
}

/// A KVM host machine that QEMU emulates.
#[derive(Debug)]
pub(crate) struct LabMachine {
    /// Distinguishes it from the other machines of its architecture; empty if there is only one.
    pub(crate) variant: &'static str,
    /// QEMU, with the versions that can emulate this machine.
    pub(crate) qemu: Qemu,
    /// Machine and processor.
    pub(crate) args: &'static [&'static str],
    /// Start of L1's kernel command line; the rest is the same for every architecture.
    pub(crate) cmdline: &'static str,
    /// True if all of QEMU must run on one processor of this machine.
    pub(crate) is_on_one_processor: bool,
    /// The tests that run on this machine.
    pub(crate) tests: Selection,
}

/// Tests that run on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    All,
    /// Those whose names contain this text.
    Only(&'static str),
    /// Those whose names do not.
    Except(&'static str),
}

impl Selection {
    /// Arguments of the test programs, with the part of names that the user gave. `None` if the machine runs none of those tests: one with
    /// [`Only`](Self::Only) some runs what the user names if one of the two texts contains the other.
    pub(crate) fn args(self, filter: Option<&str>) -> Option<Vec<&str>> {
        match (self, filter) {
            (Self::Only(text), Some(filter)) => {
                (filter.contains(text) || text.contains(filter)).then(|| vec![filter])
            }
            (Self::All | Self::Except(_), Some(filter)) => Some(vec![filter]),
            (Self::All, None) => Some(Vec::new()),
            (Self::Only(text), None) => Some(vec![text]),
            (Self::Except(text), None) => Some(vec!["--skip", text]),
        }
    }
}

/// A kernel module that L1 loads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Module {
    /// Its file name up to `.ko`.
    pub(crate) name: &'static str,
    /// True when L1 works without it.
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

static X86_64: ArchRow = ArchRow {
    arch: Arch::X86_64,
    name: "x86_64",
    labs: &[LabMachine {
        variant: "",
        qemu: versions::X86_64,
        // `max` under TCG has SVM with nested paging.
        args: &["-machine", "q35,accel=tcg", "-cpu", "max"],
        // QEMU 7.2 computes the flags of CMPXCHG16B from stale ones, and one boot in ten of a kernel that uses it crashes.
        // With this option L1's kernel does not use the instruction and hides it from guests in CPUID.
        cmdline: "console=ttyS0 clearcpuid=cx16",
        // VMRUN and #VMEXIT of QEMU set and clear VIRQ in the word of pending interrupts without its lock, and without the prefix LOCK. If another
        // thread makes an interrupt of L1 pending at that moment, it is lost: L1's timer is never served, and L1 stands still. On one processor a single
        // instruction is atomic.
        is_on_one_processor: true,
        tests: Selection::All,
    }],
    debian: "amd64",
    kernel_meta: "linux-image-cloud-amd64",
    kernel_file: "vmlinuz-",
    kernel_format: "bzImage",
    has_vmlinux: true,
    earlier_kernels: &[Suite::Bookworm, Suite::Bullseye],
    images: &[
        Image::file("memtest86+", "boot/memtest86+x64.bin", "memtest86+x64.bin"),
        Image::file("ipxe", "usr/lib/ipxe/ipxe.lkrn", "ipxe.lkrn"),
        Image::file("syslinux-common", "usr/lib/syslinux/memdisk", "memdisk"),
        // Boot loaders that run on `efi-abi`, in the program of the test.
        Image::file(
            "systemd-boot-efi",
            "usr/lib/systemd/boot/efi/systemd-bootx64.efi",
            "systemd-bootx64.efi",
        ),
        Image::file("shim-signed", "usr/lib/shim/shimx64.efi.signed", "shimx64.efi"),
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
    guests: builds::X86_64,
    sandbox_targets: builds::SANDBOX_X86_64,
    c_guests: builds::C_X86_64,
    loaders: machines::X86_64,
    firmware: &tables::X86_64,
    link_packages: &[
        ("gcc", "/usr/bin/cc"),
        ("libc6-dev", "/usr/lib/x86_64-linux-gnu/libc.a"),
    ],
    linker: None,
    kvm_flags: &["vmx", "svm"],
};

static AARCH64: ArchRow = ArchRow {
    arch: Arch::Aarch64,
    name: "aarch64",
    labs: &[
        LabMachine {
            variant: "GICv3",
            qemu: versions::AARCH64,
            args: &[
                "-machine",
                "virt,virtualization=on,gic-version=3",
                "-cpu",
                "max,pauth-impdef=on",
            ],
            cmdline: "console=ttyAMA0",
            is_on_one_processor: false,
            tests: Selection::All,
        },
        // QEMU's GICv3 does not support GICv2 guests, as some real ones do.
        LabMachine {
            variant: "GICv2",
            qemu: versions::AARCH64,
            args: &[
                "-machine",
                "virt,virtualization=on,gic-version=2",
                "-cpu",
                "max,pauth-impdef=on",
            ],
            cmdline: "console=ttyAMA0",
            is_on_one_processor: false,
            tests: Selection::Only("gicv2"),
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
    guests: builds::AARCH64,
    sandbox_targets: builds::SANDBOX_AARCH64,
    c_guests: builds::C_AARCH64,
    loaders: machines::AARCH64,
    firmware: &tables::AARCH64,
    link_packages: &[
        ("gcc-aarch64-linux-gnu", "/usr/bin/aarch64-linux-gnu-gcc"),
        ("libc6-dev-arm64-cross", "/usr/aarch64-linux-gnu/lib/libc.a"),
    ],
    linker: Some("aarch64-linux-gnu-gcc"),
    kvm_flags: &[],
};

static RISCV64: ArchRow = ArchRow {
    arch: Arch::Riscv64,
    name: "riscv64",
    labs: &[
        // KVM has no interrupt controller here; user space emulates a PLIC.
        LabMachine {
            variant: "PLIC",
            qemu: versions::RISCV64,
            // `-cpu max` makes a guest of L1 hang; `rv64` with the H extension does not.
            args: &["-machine", "virt", "-cpu", "rv64,h=true"],
            cmdline: "console=ttyS0",
            is_on_one_processor: false,
            tests: Selection::All,
        },
        // KVM has APLIC and IMSIC here. Under QEMU 7.2 the kernel hangs with them.
        LabMachine {
            variant: "AIA",
            qemu: versions::RISCV64_SINCE_10,
            args: &[
                "-machine",
                "virt,aia=aplic-imsic",
                "-cpu",
                "rv64,h=true,smaia=true,ssaia=true",
            ],
            cmdline: "console=ttyS0",
            is_on_one_processor: false,
            // A sandbox has no interrupt controller; the registers of AIA in bare machines have tests of their own.
            tests: Selection::Except("sandbox::"),
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
    guests: builds::RISCV64,
    sandbox_targets: builds::SANDBOX_RISCV64,
    c_guests: builds::C_RISCV64,
    loaders: machines::RISCV64,
    firmware: &tables::RISCV64,
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
    /// The machine of tasks that need only one, such as `run`.
    pub(crate) fn first_lab(&self) -> &'static LabMachine {
        &self.labs[0]
    }

    /// The target of sandboxes with all registers of the architecture.
    pub(crate) fn sandbox_target(&self) -> &'static SandboxTarget {
        &self.sandbox_targets[0]
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
    fn a_machine_runs_its_selection_of_tests() {
        for (selection, filter, expected) in [
            (Selection::All, None, Some(vec![])),
            (Selection::All, Some("reset"), Some(vec!["reset"])),
            (Selection::Only("gicv2"), None, Some(vec!["gicv2"])),
            (Selection::Only("gicv2"), Some("reset"), None),
            (Selection::Only("gicv2"), Some("gic"), Some(vec!["gic"])),
            (
                Selection::Only("gicv2"),
                Some("run::gicv2"),
                Some(vec!["run::gicv2"]),
            ),
            (
                Selection::Except("sandbox::"),
                None,
                Some(vec!["--skip", "sandbox::"]),
            ),
            (Selection::Except("sandbox::"), Some("linux"), Some(vec!["linux"])),
        ] {
            assert_eq!(selection.args(filter), expected, "{selection:?} {filter:?}");
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
