//! An independent parser reads back every node and every value that was written, and nothing else.

#[path = "support/view.rs"]
mod view;

use std::num::NonZeroU32;

use arbitrary::Unstructured;
use boot_core::machine::{Cpus, InterruptController, Isa};
use boot_core::{Arch, GuestRange, Machine};
use boot_test::fdt;
use hv_core::virt::{self, RiscvIrqchip};
use proptest::prelude::*;
use proto_fdt::device_tree::DeviceTree;
use proto_fdt::{Chosen, boot_cpu_id, create_fdt};

/// The machine in the order of the tree, where CPUs, slots and reserved memory are sorted by address.
fn sayable(machine: &Machine) -> boot_core::machine::Platform {
    let mut platform = machine.platform.clone();
    match &mut platform.cpus {
        Cpus::Arm64(cpus) => {
            for cpu in cpus.iter_mut() {
                cpu.mpidr = cpu.affinity();
            }
            cpus.sort_by_key(|cpu| cpu.mpidr);
        }
        Cpus::Riscv64(cpus) => cpus.harts.sort_by_key(|hart| hart.hart_id),
        _ => {}
    }
    platform.virtio_mmio.sort_by_key(|slot| slot.range);
    platform.reserved_memory.sort_by_key(|memory| memory.range);
    platform
}

fn check(machine: &Machine, chosen: &Chosen<'_>) {
    let dtb = create_fdt(machine, chosen).unwrap();
    assert_eq!(
        dtb,
        create_fdt(machine, chosen).unwrap(),
        "equal machines, equal bytes"
    );
    let view = view::view(&dtb);
    assert_eq!(view.platform, sayable(machine));
    // The interrupt controller numbers the harts in the order of the platform.
    let order = match &machine.platform.cpus {
        Cpus::Riscv64(cpus) => Some(cpus.harts.iter().map(|hart| hart.hart_id).collect::<Vec<_>>()),
        _ => None,
    };
    assert_eq!(view.counted, order);
    assert_eq!(view.memory, machine.memory.ram().collect::<Vec<_>>());
    let boot_cpu = boot_cpu_id(&machine.platform.cpus).unwrap();
    assert_eq!(view.boot_cpu, u32::try_from(boot_cpu).unwrap_or(0));
    let number = |value: u64| value.to_be_bytes().to_vec();
    let expected = [
        (
            "bootargs",
            (!chosen.bootargs.is_empty()).then(|| chosen.bootargs.to_vec()),
        ),
        (
            "linux,initrd-start",
            chosen.initrd.map(|range| number(range.start())),
        ),
        ("linux,initrd-end", chosen.initrd.map(|range| number(range.end()))),
        ("rng-seed", chosen.rng_seed.map(<[u8]>::to_vec)),
        ("kaslr-seed", chosen.kaslr_seed.map(number)),
    ];
    let expected = expected
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
    assert_eq!(view.chosen, expected);
}

/// Harts have timers of their own, so a machine without devices needs no interrupt controller.
#[test]
fn only_a_described_interrupt_controller_is_referred_to() {
    let isa = Isa::new(["i", "m", "a"]).unwrap();
    let mut machine =
        virt::riscv64_machine(64 << 20, NonZeroU32::MIN, &isa, 10_000_000, RiscvIrqchip::Plic).unwrap();
    let refers = |machine: &Machine| {
        let dtb = create_fdt(machine, &Chosen::new()).unwrap();
        let tree = DeviceTree::parse(&dtb).unwrap();
        tree.root.property("interrupt-parent").is_some()
    };
    assert!(refers(&machine));
    machine.platform.interrupt_controller = InterruptController::Unspecified;
    for serial in &mut machine.platform.serial {
        serial.interrupt = None;
    }
    machine.platform.virtio_mmio.clear();
    machine.platform.pci = None;
    assert!(!refers(&machine));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn what_is_written_is_read_back(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        arch in prop_oneof![Just(Arch::Aarch64), Just(Arch::Riscv64)],
        bootargs in proptest::option::of("[ -~]{0,60}\0"),
        initrd in proptest::option::of((any::<u32>(), any::<u32>())),
        rng_seed in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        kaslr_seed in any::<Option<u64>>(),
    ) {
        let mut chosen = Chosen::new().with_bootargs(bootargs.as_deref().unwrap_or_default().as_bytes());
        chosen.initrd = initrd.and_then(|(start, len)| GuestRange::new(u64::from(start) << 16, len.into()));
        chosen.rng_seed = rng_seed.as_deref();
        chosen.kaslr_seed = kaslr_seed;
        check(&fdt::machine(&mut Unstructured::new(&bytes), arch).unwrap(), &chosen);
    }
}
