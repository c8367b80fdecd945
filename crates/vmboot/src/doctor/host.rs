//! Facts about a host.

use boot_core::Arch;
use hv_kvm::{HarnessError, KvmProbe};
use hv_kvm_x86::GuestExecution;
use rustix::io::Errno;
use rustix::process::{Resource, geteuid, getrlimit};
use {hv_kvm_arm64 as arm64, hv_kvm_riscv as riscv64, hv_kvm_x86 as x86_64};

use super::files::{DeviceFile, HostFiles};
use super::kvm::{GUESTS, chain, probe};

/// Facts about a host, from which the report is made.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Name of the architecture in Rust.
    pub(super) arch: String,
    pub(super) kernel: Option<String>,
    pub(super) device: Option<DeviceFile>,
    /// KVM, or why it is not usable; `None` for an architecture without a harness.
    pub(super) kvm: Option<Result<KvmProbe, String>>,
    /// Why `/dev/kvm` cannot be opened, if it cannot.
    pub(super) failure: OpenFailure,
    pub(super) cpu: Cpu,
    /// x86_64: whether the CPU or KVM executes the code of guests. `None` where KVM is not usable.
    pub(super) execution: Option<Result<GuestExecution, String>>,
    /// What KVM emulates on arm64 and riscv64. `None` where KVM is not usable.
    pub(super) machine: Option<Result<Machines, String>>,
    pub(super) resources: Resources,
}

/// Why `/dev/kvm` cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenFailure {
    /// Its group or mode.
    Permissions,
    /// The device filter of a container, or a security module.
    Policy,
    /// There is no driver behind the file.
    NoDriver,
}

impl OpenFailure {
    /// The failure with an error number of `open`. Permissions of the file do not matter to root.
    pub(super) fn new(error: Option<i32>, is_root: bool) -> Self {
        match error.map(Errno::from_raw_os_error) {
            Some(Errno::NODEV | Errno::NXIO | Errno::NOENT) => Self::NoDriver,
            Some(Errno::PERM) => Self::Policy,
            Some(Errno::ACCESS) if is_root => Self::Policy,
            _ => Self::Permissions,
        }
    }
}

/// Virtualization of the CPU.
#[derive(Clone, Debug)]
pub(super) enum Cpu {
    X86 {
        flag: Option<&'static str>,
        /// Whether the host is a virtual machine.
        is_virtual: bool,
        nesting: Option<bool>,
    },
    Riscv {
        has_h: bool,
    },
    Other,
}

/// Machines that KVM can emulate.
#[derive(Clone, Debug)]
pub(super) enum Machines {
    Arm64(arm64::HostCapabilities),
    Riscv64(riscv64::HostCapabilities),
}

/// Memory and limits, in bytes; `None` for unknown or unlimited.
#[derive(Clone, Debug, Default)]
pub(super) struct Resources {
    pub(super) available: Option<u64>,
    pub(super) limit: Option<u64>,
    pub(super) address_space: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) huge_pages: Option<String>,
    pub(super) is_filtered: bool,
}

impl Host {
    /// Examines this host.
    pub(super) fn examine(files: &HostFiles) -> Self {
        let name = std::env::consts::ARCH;
        let arch = GUESTS.into_iter().find(|arch| arch.name() == name);
        let mut error_number = None;
        let kvm = arch.map(|arch| {
            probe(arch).map_err(|error| match error {
                // The report has advice of its own.
                HarnessError::Open(error) => {
                    error_number = error.raw_os_error();
                    error.to_string()
                }
                error => chain(&error),
            })
        });
        let usable = matches!(&kvm, Some(Ok(kvm)) if kvm.check().is_ok());
        let usable_on = |wanted| usable && arch == Some(wanted);
        Self {
            arch: name.to_owned(),
            kernel: files.kernel_release(),
            device: files.device(),
            kvm,
            failure: OpenFailure::new(error_number, geteuid().is_root()),
            cpu: match arch {
                Some(Arch::X86_64) => Cpu::X86 {
                    flag: files.x86_virtualization(),
                    is_virtual: files.has_cpu_flag("hypervisor"),
                    nesting: files.is_nesting_enabled(),
                },
                Some(Arch::Riscv64) => Cpu::Riscv {
                    has_h: files.has_h_extension(),
                },
                _ => Cpu::Other,
            },
            execution: usable_on(Arch::X86_64)
                .then(|| x86_64::probe_execution().map_err(|error| chain(&error))),
            machine: match arch {
                Some(Arch::Aarch64) if usable => Some(
                    arm64::host_capabilities()
                        .map(Machines::Arm64)
                        .map_err(|error| chain(&error)),
                ),
                Some(Arch::Riscv64) if usable => Some(
                    riscv64::host_capabilities()
                        .map(Machines::Riscv64)
                        .map_err(|error| chain(&error)),
                ),
                _ => None,
            },
            resources: Resources {
                available: files.available_memory(),
                limit: files.memory_limit(),
                address_space: getrlimit(Resource::As).current,
                open_files: getrlimit(Resource::Nofile).current,
                huge_pages: files.huge_pages(),
                is_filtered: files.is_filtered(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_open_have_causes() {
        let check = |error: Errno, is_root, expected| {
            let error = Some(error.raw_os_error());
            assert_eq!(OpenFailure::new(error, is_root), expected, "{error:?}");
        };
        check(Errno::ACCESS, false, OpenFailure::Permissions);
        check(Errno::ACCESS, true, OpenFailure::Policy);
        check(Errno::PERM, false, OpenFailure::Policy);
        check(Errno::NODEV, false, OpenFailure::NoDriver);
        check(Errno::NXIO, true, OpenFailure::NoDriver);
        assert_eq!(OpenFailure::new(None, false), OpenFailure::Permissions);
    }
}
