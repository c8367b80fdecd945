//! Launch digests of SEV-SNP.

use boot_core::Arch;
use boot_measure::snp::{CpuSignature, PlanLaunch, SevFeatures, ZeroPages, plan_launch_digest};

use crate::inputs::{Boot, boot, bytes, kinds, x86_state};

fn launch(vcpus: u32, cpu_type: &str) -> PlanLaunch {
    PlanLaunch::new(vcpus, CpuSignature::of_qemu_type(cpu_type).unwrap())
}

fn digest(boot: &Boot, launch: &PlanLaunch) -> String {
    plan_launch_digest(&boot.plan, &boot.sources(), launch)
        .unwrap()
        .to_string()
}

#[test]
fn plans_have_the_launch_digests_of_sev_snp_measure() {
    let plain = boot(Arch::X86_64, vec![x86_state().into()], &[]);
    let content = bytes(0x1000, 6).try_into().unwrap();
    let with_kinds = boot(Arch::X86_64, vec![x86_state().into()], &kinds(&content));
    let mut names = Vec::new();
    for vcpus in [1, 2, 4] {
        for cpu_type in ["EPYC-v4", "EPYC-Rome", "EPYC-Milan", "EPYC-Genoa", "EPYC-Turin"] {
            let digest = digest(&plain, &launch(vcpus, cpu_type));
            names.push((format!("plan-{vcpus}-{cpu_type}"), digest));
        }
    }
    let mut found: Vec<(&str, String)> = names.iter().map(|(name, d)| (&**name, d.clone())).collect();
    let milan = launch(2, "EPYC-Milan");
    let features = milan.clone().with_features(SevFeatures::SNP_DEBUG_VIRTUALIZATION);
    found.push(("plan-features-21", digest(&plain, &features)));
    let normal = milan.clone().with_zero_pages(ZeroPages::Normal);
    found.push(("plan-zeros-normal", digest(&plain, &normal)));
    found.push(("plan-kinds", digest(&with_kinds, &milan)));
    crate::check(include_str!("snp.txt"), &found);
}
