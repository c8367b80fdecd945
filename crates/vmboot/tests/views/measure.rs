//! `vmboot measure`.

use boot_measure::snp::{CpuSignature, PlanLaunch, plan_launch_digest};
use boot_measure::{HashAlgorithm, plan_digest};
use vmboot::boot_core::Arch;
use vmboot::report::MeasureReport;

use crate::boot::{Boot, boots, vmboot};

/// Runs `vmboot measure` with these options on a boot.
fn measure(boot: &Boot, options: &[&str]) -> std::process::Output {
    let dir = tempfile::tempdir().unwrap();
    let mut args = boot.args(dir.path(), "kernel");
    "measure".clone_into(&mut args[0]);
    args.extend(options.iter().map(|&option| option.to_owned()));
    vmboot(&args)
}

#[test]
fn the_command_prints_the_digests_of_the_library() {
    for boot in boots() {
        for algorithm in HashAlgorithm::ALL {
            let output = measure(&boot, &["--json", "--hash", algorithm.name()]);
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{}: {error}", boot.protocol);
            let found: MeasureReport = serde_json::from_slice(&output.stdout).unwrap();
            let expected = boot.planned(|plan, sources, _| plan_digest(plan, sources, algorithm).unwrap());
            assert_eq!(found, MeasureReport::new(&expected), "{}", boot.protocol);
            assert_eq!(found.schema, MeasureReport::SCHEMA);
        }
    }
}

#[test]
fn the_command_prints_launch_digests_of_x86_plans_only() {
    let mut launched = 0;
    for boot in boots() {
        let output = measure(&boot, &["--snp"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let launch = PlanLaunch::new(1, CpuSignature::new(25, 1, 1));
        let expected = boot.planned(|plan, sources, _| {
            (plan.arch() == Arch::X86_64).then(|| {
                let plan_digest = plan_digest(plan, sources, HashAlgorithm::Sha256).unwrap();
                let digest = plan_launch_digest(plan, sources, &launch).unwrap();
                format!("plan sha256: {plan_digest}\nSEV-SNP launch digest: {digest}\n")
            })
        });
        if let Some(expected) = expected {
            launched += 1;
            assert_eq!(text, expected);
        } else {
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{error}");
            assert!(error.contains("but the launch is for x86_64"), "{error}");
        }
    }
    assert_eq!(launched, 4);
}

#[test]
fn options_of_the_launch_change_the_digest() {
    let boots = boots();
    let boot = &boots[0];
    let digests = [
        &["--snp"][..],
        &["--snp", "--guest-features", "0x21"],
        &["--snp", "--zero-pages", "normal"],
        &["--snp", "--vcpus", "2", "--vcpu-type", "EPYC-Milan"],
        &["--snp", "--vcpus", "2", "--vcpu-type", "EPYC-Genoa"],
        &["--snp", "--vcpus", "2", "--vcpu-type", "0x0080f12"],
    ]
    .map(|options| {
        let output = measure(boot, options);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).unwrap()
    });
    for (at, digest) in digests.iter().enumerate() {
        assert!(!digests[..at].contains(digest), "{digest}");
    }
    let same = measure(boot, &["--snp", "--vcpus", "2", "--vcpu-type", "0xa00f11"]);
    assert_eq!(same.stdout, digests[3].as_bytes());
}
