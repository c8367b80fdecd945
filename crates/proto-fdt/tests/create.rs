//! An independent parser reads back every node and every value that was written, and nothing else.

#[path = "support/view.rs"]
mod view;

use std::num::NonZeroU32;

use arbitrary::Unstructured;
use boot_core::machine::{
    Arm64Cpu, Cache, CacheScope, Caches, Cpus, InterruptController, Isa, Numa, NumaError, NumaNode, Topology,
    TopologyError,
};
use boot_core::{Arch, GuestRange, Machine};
use boot_test::fdt;
use hv_core::virt::{self, RiscvIrqchip};
use proptest::prelude::*;
use proto_fdt::device_tree::{DeviceTree, Node};
use proto_fdt::{Chosen, CreateFdtError, boot_cpu_id, create_fdt};
use view::{CacheView, NumaView, TopologyView};

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

/// The ids of the CPUs in the order of the vCPU indices.
fn ids(machine: &Machine) -> Vec<u64> {
    match &machine.platform.cpus {
        Cpus::Arm64(cpus) => cpus.iter().map(Arm64Cpu::affinity).collect(),
        Cpus::Riscv64(cpus) => cpus.harts.iter().map(|hart| hart.hart_id).collect(),
        other => panic!("{other:?}"),
    }
}

/// What the tree has to tell about the topology.
fn expected_topology(machine: &Machine, topology: &Topology) -> TopologyView {
    let mut ids = ids(machine).into_iter();
    let mut view = TopologyView::default();
    let caches = &topology.caches;
    let [mut core_number, mut cluster_number] = [0; 2];
    for socket in 0..topology.sockets.get() {
        for cluster in 0..topology.clusters.get() {
            for core in 0..topology.cores.get() {
                for thread in 0..topology.threads.get() {
                    let id = ids.next().unwrap();
                    let thread = match topology.threads.get() {
                        1 => String::new(),
                        _ => format!("/thread{thread}"),
                    };
                    let path = format!("socket{socket}/cluster{cluster}/core{core}{thread}");
                    view.map.insert(path, id);
                    let number = |scope| match scope {
                        CacheScope::Core => core_number,
                        CacheScope::Cluster => cluster_number,
                        _ => socket,
                    };
                    let of = |kind, cache: Option<Cache>, is_shared: bool| {
                        cache.map(|cache| CacheView {
                            kind,
                            sizes: [cache.size, cache.line_size, cache.sets],
                            number: is_shared.then(|| number(cache.scope)),
                        })
                    };
                    let all = [
                        of("data", caches.l1d, false),
                        of("instruction", caches.l1i, false),
                        of("unified 2", caches.l2, true),
                        of("unified 3", caches.l3, true),
                    ];
                    view.caches.insert(id, all.into_iter().flatten().collect());
                }
                core_number += 1;
            }
            cluster_number += 1;
        }
    }
    assert_eq!(ids.next(), None);
    view
}

/// What the tree has to tell about NUMA nodes.
fn expected_numa(machine: &Machine, numa: &Numa) -> NumaView {
    let ids = ids(machine);
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
    let topology = machine.topology.as_ref();
    assert_eq!(
        view.topology,
        topology.map(|topology| expected_topology(machine, topology))
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

#[test]
fn cpus_have_their_places_and_caches() {
    let twelve = NonZeroU32::new(12).unwrap();
    let [two, three] = [2, 3].map(|n| NonZeroU32::new(n).unwrap());
    let l1 = Cache::new(64 << 10, 64, 256);
    let mut caches = Caches::default();
    caches.l1d = Some(l1);
    caches.l1i = Some(l1);
    caches.l2 = Some(Cache::new(1 << 20, 64, 1024));
    caches.l3 = Some(Cache::new(8 << 20, 64, 8192).with_scope(CacheScope::Socket));
    let arm64 = virt::arm64_machine(1 << 30, twelve, virt::Gic::V3).unwrap();
    let isa = Isa::rv64gc();
    let riscv64 = virt::riscv64_machine(1 << 30, twelve, &isa, 10_000_000, RiscvIrqchip::Aplic).unwrap();
    for mut machine in [arm64, riscv64] {
        for topology in [
            Topology::new(two, three, two),
            Topology::new(NonZeroU32::MIN, two, three).with_clusters(two),
            Topology::new(NonZeroU32::MIN, twelve, NonZeroU32::MIN),
        ] {
            machine.topology = Some(topology);
            check(&machine, &Chosen::new());
            machine.topology = Some(topology.with_caches(caches));
            check(&machine, &Chosen::new());
        }
        machine.topology = Some(Topology::new(two, three, three));
        let error = create_fdt(&machine, &Chosen::default()).unwrap_err();
        assert!(
            matches!(error, CreateFdtError::Topology(TopologyError::CpuCount { .. })),
            "{error:?}"
        );
    }
}
