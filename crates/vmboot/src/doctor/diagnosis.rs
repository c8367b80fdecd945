//! From the facts about a host to the report.

use boot_core::{Arch, ByteCount};
use hv_kvm::{Capability, KvmProbe, Need};
use hv_kvm_x86::GuestExecution;

use super::host::{Cpu, Host, Machines, OpenFailure, Resources};
use super::kvm::{DEFAULT_MEMORY, GUESTS};
use crate::report::{CheckReport, CheckStatus, CheckTopic, DoctorReport, GuestReport, GuestSupport};

/// File descriptors that a run opens: files, KVM, machine, devices, one vCPU.
const OPEN_FILES: u64 = 64;

pub(super) fn diagnose(host: &Host) -> DoctorReport {
    let mut checks = Vec::new();
    virtualization(host, &mut checks);
    if let Some(Ok(kvm)) = &host.kvm {
        checks.extend(
            kvm.capabilities
                .iter()
                .map(|&(capability, value)| check_capability(capability, value)),
        );
    }
    match &host.machine {
        Some(Ok(machines)) => machine(machines, &mut checks),
        Some(Err(error)) => checks.push(problem(CheckTopic::Machine, "machine", error.clone(), NO_GUEST)),
        None => {}
    }
    resources(&host.resources, &mut checks);
    let guests = GUESTS.map(|arch| verdict(host, arch, &checks)).to_vec();
    DoctorReport {
        schema: DoctorReport::SCHEMA.to_owned(),
        arch: host.arch.clone(),
        kernel: host.kernel.clone().unwrap_or_default(),
        checks,
        guests,
    }
}

/// Effect of a lack without which no guest runs.
const NO_GUEST: &str = "`vmboot run` cannot start a guest";

fn check(
    topic: CheckTopic,
    status: CheckStatus,
    name: &str,
    found: impl Into<String>,
    effect: Option<String>,
) -> CheckReport {
    CheckReport {
        topic,
        name: name.to_owned(),
        status,
        found: found.into(),
        effect,
    }
}

fn fine(topic: CheckTopic, name: &str, found: impl Into<String>) -> CheckReport {
    check(topic, CheckStatus::Ok, name, found, None)
}

fn info(topic: CheckTopic, name: &str, found: impl Into<String>) -> CheckReport {
    check(topic, CheckStatus::Info, name, found, None)
}

fn warning(
    topic: CheckTopic,
    name: &str,
    found: impl Into<String>,
    effect: impl Into<String>,
) -> CheckReport {
    check(topic, CheckStatus::Warning, name, found, Some(effect.into()))
}

fn problem(
    topic: CheckTopic,
    name: &str,
    found: impl Into<String>,
    effect: impl Into<String>,
) -> CheckReport {
    check(topic, CheckStatus::Problem, name, found, Some(effect.into()))
}

fn virtualization(host: &Host, checks: &mut Vec<CheckReport>) {
    const TOPIC: CheckTopic = CheckTopic::Virtualization;
    const HARDWARE: &str = "hardware virtualization";
    const CODE: &str = "code of guests";
    match host.cpu {
        Cpu::X86 {
            flag,
            is_virtual,
            nesting,
        } => {
            checks.push(match flag {
                Some(flag) => fine(TOPIC, HARDWARE, format!("{flag} in the CPU flags")),
                None => warning(
                    TOPIC,
                    HARDWARE,
                    "neither vmx nor svm in the CPU flags",
                    if is_virtual {
                        "this machine is a virtual machine: enable nested virtualization for it, or use another host"
                    } else {
                        "enable it in the firmware of this machine (VT-x, SVM), or use another host"
                    },
                ),
            });
            if is_virtual {
                checks.push(info(TOPIC, "host", "a virtual machine itself"));
            }
            if let Some(nesting) = nesting {
                let found = if nesting { "possible" } else { "not possible" };
                checks.push(info(TOPIC, "KVM inside guests", found));
            }
        }
        Cpu::Riscv { has_h: true } => checks.push(fine(TOPIC, HARDWARE, "the H extension in the ISA string")),
        Cpu::Riscv { has_h: false } => checks.push(warning(
            TOPIC,
            HARDWARE,
            "no H extension in the ISA string",
            "KVM needs harts with the hypervisor extension",
        )),
        Cpu::Other => {}
    }
    checks.push(device(host));
    let Some(Ok(kvm)) = &host.kvm else {
        return;
    };
    let version = kvm.api_version.to_string();
    checks.push(if kvm.api_version == KvmProbe::API_VERSION {
        fine(TOPIC, "KVM API version", version)
    } else {
        problem(
            TOPIC,
            "KVM API version",
            version,
            format!("version {} is needed", KvmProbe::API_VERSION),
        )
    });
    match &host.execution {
        None => {}
        Some(Ok(GuestExecution::Limited(_))) => checks.push(warning(
            TOPIC,
            CODE,
            "KVM emulates kernel code in software; it does not know an SSE2 instruction of a probe",
            "small bare-metal guests run, a stock Linux kernel does not",
        )),
        Some(Ok(_)) => checks.push(fine(TOPIC, CODE, "the CPU executes it")),
        Some(Err(error)) => checks.push(problem(TOPIC, CODE, error.clone(), NO_GUEST)),
    }
}

/// `/dev/kvm`, and what to do about one that cannot be used.
fn device(host: &Host) -> CheckReport {
    const TOPIC: CheckTopic = CheckTopic::Virtualization;
    const NAME: &str = "/dev/kvm";
    let error = match &host.kvm {
        None => {
            let effect = format!("there is no harness for {} hosts", host.arch);
            return problem(TOPIC, NAME, "not used", effect);
        }
        Some(Ok(_)) => return fine(TOPIC, NAME, "readable and writable"),
        Some(Err(error)) => error,
    };
    let found = host.device.as_ref().map_or_else(
        || "missing".to_owned(),
        |device| {
            format!(
                "cannot be opened: {error}; group {}, mode {:o}",
                device.group, device.mode
            )
        },
    );
    let effect = match (&host.device, host.failure) {
        (None, _) | (_, OpenFailure::NoDriver) => format!(
            "{}; in a container, pass the device: `--device /dev/kvm`",
            module_advice(&host.cpu)
        ),
        (_, OpenFailure::Policy) => {
            "a container or a security module refuses it; pass the device to the container: `--device /dev/kvm`".to_owned()
        }
        (Some(device), OpenFailure::Permissions)
            if device.mode & 0o060 == 0o060 && device.group != "root" =>
        {
            format!(
                "become a member of its group and log in again: `sudo usermod -aG {} $USER`",
                device.group
            )
        }
        (Some(_), OpenFailure::Permissions) => {
            "only root can use it: run as root, or change its group and mode".to_owned()
        }
    };
    problem(TOPIC, NAME, found, effect)
}

/// What provides `/dev/kvm`.
fn module_advice(cpu: &Cpu) -> &'static str {
    match cpu {
        Cpu::X86 {
            flag: Some("vmx"), ..
        } => "load the KVM module: `sudo modprobe kvm_intel`",
        Cpu::X86 { flag: Some(_), .. } => "load the KVM module: `sudo modprobe kvm_amd`",
        Cpu::X86 { flag: None, .. } => "KVM needs a CPU with VMX or SVM",
        Cpu::Riscv { .. } => "load the KVM module: `sudo modprobe kvm`",
        Cpu::Other => "KVM needs a kernel that was started in EL2",
    }
}

fn check_capability(capability: Capability, value: i32) -> CheckReport {
    const TOPIC: CheckTopic = CheckTopic::Capability;
    let Capability {
        name, need, purpose, ..
    } = capability;
    match need {
        Need::Limit => info(TOPIC, name, format!("{value} ({purpose})")),
        Need::Required if value > 0 => fine(TOPIC, name, format!("found, needed: {purpose}")),
        Need::Required => problem(
            TOPIC,
            name,
            format!("missing, needed: {purpose}"),
            "use a newer kernel",
        ),
        _ if value > 0 => fine(TOPIC, name, "found"),
        _ => check(
            TOPIC,
            CheckStatus::Info,
            name,
            "missing",
            Some(purpose.to_owned()),
        ),
    }
}

fn machine(machines: &Machines, checks: &mut Vec<CheckReport>) {
    const TOPIC: CheckTopic = CheckTopic::Machine;
    match machines {
        Machines::Arm64(host) => {
            checks.push(info(
                TOPIC,
                "guest physical addresses",
                format!("{} bits", host.address_bits),
            ));
            checks.push(match (host.gic_v3, host.its, host.gic_v2) {
                (true, true, _) => fine(TOPIC, "interrupt controller", "GICv3 with ITS"),
                (true, false, _) => warning(
                    TOPIC,
                    "interrupt controller",
                    "GICv3 without ITS",
                    "use `--irqchip gicv3`",
                ),
                (false, _, true) => warning(
                    TOPIC,
                    "interrupt controller",
                    "GICv2 only",
                    "use `--irqchip gicv2`",
                ),
                (false, _, false) => problem(TOPIC, "interrupt controller", "none", NO_GUEST),
            });
            if host.gic_v3 {
                checks.push(info(
                    TOPIC,
                    "GICv2",
                    if host.gic_v2 { "possible" } else { "not possible" },
                ));
            }
        }
        Machines::Riscv64(host) => {
            let controller = match host.aia_ids {
                Some(ids) => format!("AIA in the kernel, {ids} interrupt identities"),
                None => "PLIC in user space; KVM has no AIA".to_owned(),
            };
            checks.push(fine(TOPIC, "interrupt controller", controller));
            let extensions: Vec<_> = host.isa.extensions().collect();
            checks.push(info(TOPIC, "extensions of vCPUs", extensions.join(" ")));
            checks.push(info(TOPIC, "address translation", format!("{:?}", host.mmu)));
            checks.push(info(TOPIC, "timer", format!("{} Hz", host.timebase_frequency)));
        }
    }
}

fn resources(resources: &Resources, checks: &mut Vec<CheckReport>) {
    const TOPIC: CheckTopic = CheckTopic::Resources;
    let default = format!("guests have {} by default", ByteCount(DEFAULT_MEMORY));
    let mut memory = |name: &str, bytes: Option<u64>| {
        if let Some(bytes) = bytes {
            let found = ByteCount(bytes).to_string();
            checks.push(if bytes < DEFAULT_MEMORY {
                warning(TOPIC, name, found, format!("{default}; use `--memory` with less"))
            } else {
                fine(TOPIC, name, format!("{found}; {default}"))
            });
        }
    };
    memory("available memory", resources.available);
    memory("memory limit (cgroup)", resources.limit);
    memory("address space (ulimit -v)", resources.address_space);
    match resources.huge_pages.as_deref() {
        None => {}
        Some("never") => checks.push(warning(
            TOPIC,
            "transparent huge pages",
            "never",
            "guests run slower; `madvise` in /sys/kernel/mm/transparent_hugepage/enabled suffices",
        )),
        Some(setting) => checks.push(fine(TOPIC, "transparent huge pages", setting)),
    }
    match resources.open_files {
        Some(limit @ ..OPEN_FILES) => checks.push(warning(
            TOPIC,
            "open files (ulimit -n)",
            limit.to_string(),
            format!("a run opens up to {OPEN_FILES} files and one for each further vCPU"),
        )),
        Some(limit) => checks.push(fine(TOPIC, "open files (ulimit -n)", limit.to_string())),
        None => {}
    }
    if resources.is_filtered {
        checks.push(check(
            TOPIC,
            CheckStatus::Info,
            "seccomp",
            "a filter applies to this process",
            Some("it may refuse requests to KVM".to_owned()),
        ));
    }
}

/// The verdict for guests of `arch`.
fn verdict(host: &Host, arch: Arch, checks: &[CheckReport]) -> GuestReport {
    let report = |support, reason: String, alternative: Option<&str>| GuestReport {
        arch: arch.name().to_owned(),
        support,
        reason,
        alternative: alternative.map(ToOwned::to_owned),
    };
    let emulate = format!(
        "`vmboot inspect` and `vmboot plan` work; in the workspace of vmboot, `cargo xtask run --arch {arch}` emulates a host with KVM"
    );
    if arch.name() != host.arch {
        let reason = format!(
            "they need KVM on a host of architecture {arch}, and this host is {}",
            host.arch
        );
        return report(GuestSupport::None, reason, Some(&emulate));
    }
    let problems: Vec<_> = checks
        .iter()
        .filter(|check| check.status == CheckStatus::Problem)
        .map(|check| check.name.as_str())
        .collect();
    if !problems.is_empty() {
        let reason = format!("see {}", problems.join(", "));
        return report(GuestSupport::None, reason, Some(&emulate));
    }
    match &host.execution {
        Some(Ok(GuestExecution::Limited(_))) => report(
            GuestSupport::Limited,
            "small bare-metal guests, but no stock Linux kernel: KVM emulates kernel code in software"
                .to_owned(),
            Some(&emulate),
        ),
        _ => report(GuestSupport::Full, "all".to_owned(), None),
    }
}

#[cfg(test)]
mod tests;
