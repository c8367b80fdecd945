//! Digests of plans.

use boot_core::Arch;
use boot_measure::{HashAlgorithm, plan_digest};

use crate::inputs::{arm64_state, boot, bytes, kinds, riscv64_state, x86_state};

#[test]
fn plans_have_the_digests_of_the_documented_encoding() {
    let x86 = || x86_state().into();
    let content = bytes(0x1000, 6).try_into().unwrap();
    let kinds = kinds(&content);
    let boots = [
        ("x86_64", boot(Arch::X86_64, vec![x86()], &[])),
        ("x86_64-two-cpus", boot(Arch::X86_64, vec![x86(), x86()], &[])),
        ("x86_64-kinds", boot(Arch::X86_64, vec![x86()], &kinds)),
        ("aarch64", boot(Arch::Aarch64, vec![arm64_state().into()], &[])),
        ("riscv64", boot(Arch::Riscv64, vec![riscv64_state().into()], &[])),
    ];
    let mut found = Vec::new();
    for (name, boot) in &boots {
        for algorithm in HashAlgorithm::ALL {
            let digest = plan_digest(&boot.plan, &boot.sources(), algorithm).unwrap();
            found.push((format!("{name}-{algorithm}"), digest.to_string()));
        }
    }
    let found: Vec<_> = found
        .iter()
        .map(|(name, digest)| (&**name, digest.clone()))
        .collect();
    crate::check(include_str!("plan.txt"), &found);
}
