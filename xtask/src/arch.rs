//! Everything that differs between guest architectures, as one table.
//!
//! Support for another architecture is a filled-in row: no code elsewhere asks which architecture it is.

use std::fmt;

use crate::error::Error;
use crate::guests::{self, Conformance};

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
    /// False until all tasks work for this architecture; until then only `run` does.
    pub(crate) is_complete: bool,
    /// The emulator that gives a KVM host machine (L1) of this architecture.
    pub(crate) qemu: Qemu,
    /// The architecture's name in Debian's archive.
    pub(crate) debian: &'static str,
    /// Debian's metapackage that depends on the newest kernel for virtual machines.
    pub(crate) kernel_meta: &'static str,
    /// Start of the kernel's file name below `boot/` of its package.
    pub(crate) kernel_file: &'static str,
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
    /// Debian packages to link std programs for this architecture on an x86_64 machine, each with a file it installs.
    pub(crate) link_packages: &'static [(&'static str, &'static str)],
    /// The linker for `std_target`, where that is not the default.
    pub(crate) linker: Option<&'static str>,
    /// Flags in `/proc/cpuinfo`, one of which tells that KVM on a machine of this architecture runs any guest.
    /// Empty: every machine of this architecture that has `/dev/kvm` does.
    pub(crate) kvm_flags: &'static [&'static str],
}

/// How QEMU plays a KVM host machine.
#[derive(Debug)]
pub(crate) struct Qemu {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
    /// Machine and processor.
    pub(crate) args: &'static [&'static str],
    /// Kernel command line of L1, before what every architecture gets.
    pub(crate) cmdline: &'static str,
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

const ROWS: [ArchRow; 3] = [
    ArchRow {
        arch: Arch::X86_64,
        name: "x86_64",
        is_complete: true,
        qemu: Qemu {
            program: "qemu-system-x86_64",
            package: "qemu-system-x86",
            // `max` under TCG has SVM with nested paging.
            args: &["-machine", "q35,accel=tcg", "-cpu", "max"],
            // QEMU 7.2 computes the flags of CMPXCHG16B from stale ones, so that one boot in ten of a kernel that uses it
            // crashes. Told not to, L1's kernel uses it no more, nor tells guests that they may; the processor still has
            // it for a guest that asks nobody.
            cmdline: "console=ttyS0 clearcpuid=cx16",
        },
        debian: "amd64",
        kernel_meta: "linux-image-cloud-amd64",
        kernel_file: "vmlinuz-",
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
        link_packages: &[
            ("gcc", "/usr/bin/cc"),
            ("libc6-dev", "/usr/lib/x86_64-linux-gnu/libc.a"),
        ],
        linker: None,
        kvm_flags: &["vmx", "svm"],
    },
    ArchRow {
        arch: Arch::Aarch64,
        name: "aarch64",
        is_complete: false,
        qemu: Qemu {
            program: "qemu-system-aarch64",
            package: "qemu-system-arm",
            args: &[
                "-machine",
                "virt,virtualization=on,gic-version=3",
                "-cpu",
                "max,pauth-impdef=on",
            ],
            cmdline: "console=ttyAMA0",
        },
        debian: "arm64",
        kernel_meta: "linux-image-cloud-arm64",
        kernel_file: "vmlinuz-",
        kernel_variable: "XTASK_KERNEL_AARCH64",
        modules_variable: "XTASK_MODULES_AARCH64",
        modules: &[Module::required("virtio_console")],
        linux_protocol: "fdt-arm64",
        linux_cmdline: "console=ttyS0 panic=-1",
        std_target: "aarch64-unknown-linux-gnu",
        guests: guests::AARCH64,
        link_packages: &[
            ("gcc-aarch64-linux-gnu", "/usr/bin/aarch64-linux-gnu-gcc"),
            ("libc6-dev-arm64-cross", "/usr/aarch64-linux-gnu/lib/libc.a"),
        ],
        linker: Some("aarch64-linux-gnu-gcc"),
        kvm_flags: &[],
    },
    ArchRow {
        arch: Arch::Riscv64,
        name: "riscv64",
        is_complete: false,
        qemu: Qemu {
            program: "qemu-system-riscv64",
            package: "qemu-system-misc",
            // `-cpu max` makes a guest of L1 hang; `rv64` with the H extension does not.
            args: &["-machine", "virt", "-cpu", "rv64,h=true"],
            cmdline: "console=ttyS0",
        },
        debian: "riscv64",
        kernel_meta: "linux-image-riscv64",
        kernel_file: "vmlinux-",
        kernel_variable: "XTASK_KERNEL_RISCV64",
        modules_variable: "XTASK_MODULES_RISCV64",
        modules: &[Module::required("virtio_console"), Module::required("kvm")],
        linux_protocol: "fdt-riscv64",
        linux_cmdline: "console=ttyS0 panic=-1",
        std_target: "riscv64gc-unknown-linux-gnu",
        guests: guests::RISCV64,
        link_packages: &[
            ("gcc-riscv64-linux-gnu", "/usr/bin/riscv64-linux-gnu-gcc"),
            ("libc6-dev-riscv64-cross", "/usr/riscv64-linux-gnu/lib/libc.a"),
        ],
        linker: Some("riscv64-linux-gnu-gcc"),
        kvm_flags: &[],
    },
];

impl Arch {
    /// The row of this architecture, for every task.
    ///
    /// # Errors
    /// [`Error::NotYet`] when only some tasks work for it so far.
    pub(crate) fn row(self) -> Result<&'static ArchRow, Error> {
        self.row_to_run()
            .ok()
            .filter(|row| row.is_complete)
            .ok_or(Error::NotYet { arch: self })
    }

    /// The row of this architecture, for `run`.
    ///
    /// # Errors
    /// [`Error::NotYet`] when it has none.
    pub(crate) fn row_to_run(self) -> Result<&'static ArchRow, Error> {
        ROWS.iter()
            .find(|row| row.arch == self)
            .ok_or(Error::NotYet { arch: self })
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = ROWS.iter().find(|row| row.arch == *self);
        f.write_str(row.map_or("unknown", |row| row.name))
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_architecture_has_one_row_of_its_own_name() {
        for arch in Arch::value_variants() {
            let rows: Vec<_> = ROWS.iter().filter(|row| row.arch == *arch).collect();
            assert_eq!(rows.len(), 1, "{arch:?}");
            let on_command_line = arch.to_possible_value().unwrap();
            assert_eq!(rows[0].name, on_command_line.get_name());
            assert!(rows[0].std_target.starts_with(&rows[0].name[..5]));
        }
    }

    #[test]
    fn the_other_two_are_not_yet_supported() {
        assert!(Arch::X86_64.row().is_ok());
        for arch in [Arch::Aarch64, Arch::Riscv64] {
            let error = arch.row().unwrap_err().to_string();
            assert!(
                error.contains("not yet") && error.contains(&arch.to_string()),
                "{error}"
            );
        }
    }
}
