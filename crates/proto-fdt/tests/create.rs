//! An independent parser reads back every node and every value that was written, and nothing else.

#[path = "support/view.rs"]
mod view;

use std::num::NonZeroU32;

use arbitrary::Unstructured;
use boot_core::machine::{Arm64Cpu, Cpus, InterruptController, Isa, Numa, NumaError, NumaNode};
use boot_core::{Arch, GuestRange, Machine};
use boot_test::fdt;
use hv_core::virt::{self, RiscvIrqchip};
use proptest::prelude::*;
use proto_fdt::device_tree::{DeviceTree, Node};
use proto_fdt::{Chosen, CreateFdtError, boot_cpu_id, create_fdt};
use view::NumaView;

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

/// What the tree has to tell about NUMA nodes.
fn expected_numa(machine: &Machine, numa: &Numa) -> NumaView {
    let ids: Vec<u64> = match &machine.platform.cpus {
        Cpus::Arm64(cpus) => cpus.iter().map(Arm64Cpu::affinity).collect(),
        Cpus::Riscv64(cpus) => cpus.harts.iter().map(|hart| hart.hart_id).collect(),
        other => panic!("{other:?}"),
    };
    let nodes = || 0..u32::try_from(numa.nodes.len()).unwrap();
    let of_cpu = |cpu: u32| nodes().find(|node| numa.nodes[*node as usize].cpus.contains(&cpu));
    let distances = nodes().flat_map(|a| {
        let upper = nodes().filter(move |b| a <= *b);
        upper.flat_map(move |b| [a, b, numa.distance(a, b).into()])
    });
    NumaView {
        memory: numa.ram(&machine.memory),
        cpus: ids
            .into_iter()
            .zip(0..)
            .map(|(id, cpu)| (id, of_cpu(cpu).unwrap()))
            .collect(),
        distances: distances.collect(),
    }
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
    assert_eq!(
        view.numa,
        machine.numa.as_ref().map(|numa| expected_numa(machine, numa))
    );
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

/// Two nodes: each has every second CPU, the memory is split in the middle of the bank.
fn with_numa(mut machine: Machine) -> Machine {
    let bank = machine.memory.ram().next().unwrap();
    let middle = bank.start() + bank.len() / 2;
    let range = |start, end| vec![GuestRange::from_bounds(start, end).unwrap()];
    let numa = Numa::new(vec![
        NumaNode::new(vec![0, 2], range(middle, bank.end())),
        NumaNode::new(vec![1, 3], range(0, middle)),
    ]);
    machine.numa = Some(numa.with_distance(0, 1, 33));
    machine
}

#[test]
fn cpus_and_memory_have_their_numa_nodes() {
    let four = NonZeroU32::new(4).unwrap();
    let arm64 = virt::arm64_machine(1 << 30, four, virt::Gic::V3).unwrap();
    let isa = Isa::new(["i", "m", "a"]).unwrap();
    let riscv64 = virt::riscv64_machine(1 << 30, four, &isa, 10_000_000, RiscvIrqchip::Plic).unwrap();
    for machine in [with_numa(arm64), with_numa(riscv64)] {
        let dtb = create_fdt(&machine, &Chosen::default()).unwrap();
        let tree = DeviceTree::parse(&dtb).unwrap();
        let id = |node: &Node<'_>| node.property("numa-node-id").map(<[u8]>::to_vec);
        let number = |node: u32| Some(node.to_be_bytes().to_vec());
        let cpus = &tree.root.child("cpus").unwrap().children;
        let found: Vec<_> = cpus.iter().map(id).collect();
        assert_eq!(found, [0, 1, 0, 1].map(number));
        let memory: Vec<_> = tree
            .root
            .children
            .iter()
            .filter(|node| node.base_name() == "memory")
            .map(|node| (node.property("reg").unwrap().to_vec(), id(node)))
            .collect();
        let half = 1_u64 << 29;
        let start = machine.memory.ram().next().unwrap().start();
        let reg = |start: u64| [start, half].map(u64::to_be_bytes).concat();
        assert_eq!(memory, [(reg(start), number(1)), (reg(start + half), number(0))]);
        let map = tree.root.child("distance-map").unwrap();
        assert_eq!(map.property("compatible"), Some(&b"numa-distance-map-v1\0"[..]));
        let matrix = [[0, 0, 10], [0, 1, 33], [1, 1, 10_u32]].concat();
        let matrix: Vec<u8> = matrix.into_iter().flat_map(u32::to_be_bytes).collect();
        assert_eq!(map.property("distance-matrix"), Some(&matrix[..]));

        let mut other = machine.clone();
        other.numa.as_mut().unwrap().nodes[1].cpus.pop();
        let error = create_fdt(&other, &Chosen::default()).unwrap_err();
        assert_eq!(error, CreateFdtError::Numa(NumaError::CpuWithoutNode { cpu: 3 }));
    }
}
