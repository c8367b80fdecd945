//! Verdicts on hosts.

use super::*;
use crate::doctor::files::DeviceFile;

const CAP: Capability = Capability::required(0, "KVM_CAP_IRQCHIP", "interrupts");

/// An x86_64 host on which everything runs.
fn host() -> Host {
    Host {
        arch: "x86_64".to_owned(),
        kernel: Some("6.12.0".to_owned()),
        device: Some(device_file(0o660, "kvm")),
        kvm: Some(Ok(KvmProbe::new(12, vec![(CAP, 1)]))),
        failure: OpenFailure::Permissions,
        cpu: x86(Some("vmx")),
        execution: Some(Ok(GuestExecution::Native)),
        machine: None,
        resources: Resources::default(),
    }
}

fn x86(flag: Option<&'static str>) -> Cpu {
    Cpu::X86 {
        flag,
        is_virtual: false,
        nesting: None,
    }
}

fn device_file(mode: u32, group: &str) -> DeviceFile {
    let group = group.to_owned();
    DeviceFile { mode, group }
}

fn found<'a>(report: &'a DoctorReport, name: &str) -> &'a CheckReport {
    let mut checks = report.checks.iter();
    let check = checks.find(|check| check.name == name);
    check.unwrap_or_else(|| panic!("no {name}\n{report}"))
}

/// Asserts the verdict for guests of the host, and status and effect of a check.
fn assert_check(host: &Host, verdict: GuestSupport, name: &str, status: CheckStatus, effect: &str) {
    let report = diagnose(host);
    let own = report
        .guests
        .iter()
        .find(|guest| guest.arch == host.arch)
        .unwrap();
    assert_eq!(own.support, verdict, "{report}");
    assert_eq!(report.is_ready(), verdict == GuestSupport::Full);
    let check = found(&report, name);
    assert_eq!(check.status, status, "{report}");
    let text = check.effect.as_deref().unwrap_or_default();
    assert!(
        text.contains(effect) && text.is_empty() == effect.is_empty(),
        "{text}"
    );
    assert!(report.to_string().contains(text));
    if status == CheckStatus::Problem {
        assert!(own.reason.contains(name), "{}", own.reason);
    }
}

#[test]
fn a_host_with_everything_runs_its_own_guests_only() {
    let report = diagnose(&host());
    assert!(report.is_ready());
    let support: Vec<_> = report
        .guests
        .iter()
        .map(|guest| (guest.arch.as_str(), guest.support))
        .collect();
    assert_eq!(
        support,
        [
            ("x86_64", GuestSupport::Full),
            ("aarch64", GuestSupport::None),
            ("riscv64", GuestSupport::None)
        ]
    );
    for guest in &report.guests[1..] {
        let alternative = guest.alternative.as_deref().unwrap();
        assert!(
            alternative.contains(&format!("cargo xtask run --arch {}", guest.arch)),
            "{alternative}"
        );
    }
    assert!(
        report.checks.iter().all(|check| check.status == CheckStatus::Ok),
        "{report}"
    );
}

#[test]
fn a_device_that_cannot_be_opened_has_a_remedy() {
    let check = |cpu, device, effect| {
        let mut host = host();
        host.cpu = cpu;
        host.device = device;
        host.kvm = Some(Err("Permission denied".to_owned()));
        host.execution = None;
        assert_check(
            &host,
            GuestSupport::None,
            "/dev/kvm",
            CheckStatus::Problem,
            effect,
        );
    };
    let vmx = || x86(Some("vmx"));
    check(
        vmx(),
        Some(device_file(0o660, "kvm")),
        "sudo usermod -aG kvm $USER",
    );
    check(vmx(), Some(device_file(0o600, "kvm")), "only root can use it");
    check(vmx(), Some(device_file(0o660, "root")), "only root can use it");
    let refused = |failure| Host {
        kvm: Some(Err("Operation not permitted".to_owned())),
        execution: None,
        failure,
        ..host()
    };
    for (failure, effect) in [
        (OpenFailure::Policy, "a container or a security module refuses it"),
        (OpenFailure::NoDriver, "modprobe kvm_intel"),
    ] {
        let host = refused(failure);
        assert_check(
            &host,
            GuestSupport::None,
            "/dev/kvm",
            CheckStatus::Problem,
            effect,
        );
    }
    check(vmx(), None, "modprobe kvm_intel");
    check(x86(Some("svm")), None, "modprobe kvm_amd");
    check(x86(None), None, "a CPU with VMX or SVM");
    check(Cpu::Other, None, "EL2");
}

#[test]
fn a_limited_kvm_is_a_limited_host() {
    let mut limited = host();
    let outcome = Box::new(hv_core::Outcome::Halted);
    limited.execution = Some(Ok(GuestExecution::Limited(outcome)));
    let bare_metal = "small bare-metal guests run, a stock Linux kernel does not";
    assert_check(
        &limited,
        GuestSupport::Limited,
        "code of guests",
        CheckStatus::Warning,
        bare_metal,
    );
    limited.cpu = x86(None);
    let check = |host: &Host, effect| {
        let name = "hardware virtualization";
        assert_check(host, GuestSupport::Limited, name, CheckStatus::Warning, effect);
    };
    check(&limited, "firmware");
    limited.cpu = Cpu::X86 {
        flag: None,
        is_virtual: true,
        nesting: None,
    };
    check(&limited, "nested virtualization");
    let mut failed = host();
    failed.execution = Some(Err("KVM_CREATE_VM failed".to_owned()));
    assert_check(
        &failed,
        GuestSupport::None,
        "code of guests",
        CheckStatus::Problem,
        NO_GUEST,
    );
}

#[test]
fn the_importance_of_a_capability_decides() {
    let check = |need, value, verdict, status, effect| {
        let mut host = host();
        host.kvm = Some(Ok(KvmProbe::new(
            12,
            vec![(Capability::new(need, 0, CAP.name, CAP.purpose), value)],
        )));
        assert_check(&host, verdict, CAP.name, status, effect);
    };
    check(Need::Required, 1, GuestSupport::Full, CheckStatus::Ok, "");
    check(
        Need::Required,
        0,
        GuestSupport::None,
        CheckStatus::Problem,
        "newer kernel",
    );
    check(Need::Optional, 1, GuestSupport::Full, CheckStatus::Ok, "");
    check(
        Need::Optional,
        0,
        GuestSupport::Full,
        CheckStatus::Info,
        "interrupts",
    );
    check(Need::Limit, 0, GuestSupport::Full, CheckStatus::Info, "");
    let mut old = host();
    old.kvm = Some(Ok(KvmProbe::new(11, Vec::new())));
    let name = "KVM API version";
    assert_check(
        &old,
        GuestSupport::None,
        name,
        CheckStatus::Problem,
        "version 12 is needed",
    );
}

#[test]
fn small_resources_are_warnings() {
    let check = |resources: Resources, name, status, effect| {
        let host = Host { resources, ..host() };
        assert_check(&host, GuestSupport::Full, name, status, effect);
    };
    let memory = |available, limit| Resources {
        available,
        limit,
        ..Resources::default()
    };
    let (little, enough) = (Some(DEFAULT_MEMORY - 1), Some(DEFAULT_MEMORY));
    check(memory(enough, None), "available memory", CheckStatus::Ok, "");
    check(
        memory(little, None),
        "available memory",
        CheckStatus::Warning,
        "--memory",
    );
    check(
        memory(enough, little),
        "memory limit (cgroup)",
        CheckStatus::Warning,
        "--memory",
    );
    let pages = |setting: &str| Resources {
        huge_pages: Some(setting.to_owned()),
        ..Resources::default()
    };
    check(pages("madvise"), "transparent huge pages", CheckStatus::Ok, "");
    check(
        pages("never"),
        "transparent huge pages",
        CheckStatus::Warning,
        "slower",
    );
    let files = |limit| Resources {
        open_files: Some(limit),
        ..Resources::default()
    };
    check(
        files(OPEN_FILES - 1),
        "open files (ulimit -n)",
        CheckStatus::Warning,
        "vCPU",
    );
    check(files(OPEN_FILES), "open files (ulimit -n)", CheckStatus::Ok, "");
    let filtered = Resources {
        is_filtered: true,
        ..Resources::default()
    };
    check(filtered, "seccomp", CheckStatus::Info, "refuse");
}

#[test]
fn an_architecture_without_harness_runs_nothing() {
    let mut other = host();
    other.arch = "s390x".to_owned();
    other.kvm = None;
    other.cpu = Cpu::Other;
    other.execution = None;
    let report = diagnose(&other);
    assert!(!report.is_ready());
    assert!(
        report
            .guests
            .iter()
            .all(|guest| guest.support == GuestSupport::None)
    );
    let device = found(&report, "/dev/kvm");
    assert!(device.effect.as_deref().unwrap().contains("no harness for s390x"));
}
