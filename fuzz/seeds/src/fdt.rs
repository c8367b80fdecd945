//! Seeds of device trees, and of boots with device trees.

use std::num::NonZeroU32;

use boot_core::machine::Isa;
use fmt_test::pseudo_random;
use hv_core::virt::{self, Gic, RiscvIrqchip};
use proto_fdt::{Chosen, create_fdt};

use crate::seed::Seed;

/// Device trees of the reference machines.
pub(crate) fn trees() -> Vec<Seed> {
    let cpus = NonZeroU32::new(2).unwrap();
    let arm64 = |gic| virt::arm64_machine(256 << 20, cpus, gic).unwrap();
    let riscv64 =
        |irqchip| virt::riscv64_machine(256 << 20, cpus, &Isa::rv64gc(), 10_000_000, irqchip).unwrap();
    let machines = [
        ("arm64-gicv2", arm64(Gic::V2)),
        ("arm64-gicv3", arm64(Gic::V3WithIts)),
        ("riscv64-plic", riscv64(RiscvIrqchip::Plic)),
        ("riscv64-aplic-imsic", riscv64(RiscvIrqchip::AplicImsic)),
    ];
    let chosen = Chosen::new().with_bootargs(b"quiet\0").with_rng_seed(&[1, 2, 3]);
    machines
        .into_iter()
        .map(|(name, mut machine)| {
            machine.platform.virtio_mmio = virt::virtio_mmio(machine.arch, 1);
            machine.platform.syscon = Some(virt::syscon());
            (name, create_fdt(&machine, &chosen).unwrap())
        })
        .collect()
}

/// Pseudo-random inputs, each of which describes a machine and a boot.
pub(crate) fn boots() -> Vec<Seed> {
    const NAMES: [&str; 8] = [
        "boot-0", "boot-1", "boot-2", "boot-3", "boot-4", "boot-5", "boot-6", "boot-7",
    ];
    NAMES
        .into_iter()
        .zip(1u64..)
        .map(|(name, seed)| (name, pseudo_random(seed, 500)))
        .collect()
}
