//! What the readers find in trees, and what they refuse.

use std::num::NonZeroU32;

use boot_core::GuestRange;
use boot_core::machine::{PciSpace, PciWindow, PsciMethod, SerialKind};
use hv_core::virt::{self, Gic};
use proptest::prelude::*;
use proto_fdt::device_tree::{DeviceTree, Node};
use proto_fdt::read::{
    self, ClockKind, MAX_BANKS, ReadFdtError, bootargs, memory, pci_hosts, psci_method, real_time_clock,
    serial_port, timebase_frequency, virtio_mmio,
};
use proto_fdt::{Chosen, create_fdt};

fn range(start: u64, len: u64) -> GuestRange {
    GuestRange::new(start, len).unwrap()
}

fn cells(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// A node with properties.
fn node(
    name: &'static str,
    properties: &[(&'static str, Vec<u8>)],
    children: Vec<Node<'static>>,
) -> Node<'static> {
    let mut node = Node::new(name);
    for (name, value) in properties {
        node.push_property(*name, value.clone());
    }
    node.children = children;
    node
}

/// A root with cells of 64 bits.
fn tree(children: Vec<Node<'static>>) -> DeviceTree<'static> {
    let properties = [("#address-cells", cells(&[2])), ("#size-cells", cells(&[2]))];
    DeviceTree::new(node("", &properties, children))
}

fn bank(name: &'static str, reg: &[u32]) -> Node<'static> {
    node(
        name,
        &[("device_type", b"memory\0".to_vec()), ("reg", cells(reg))],
        vec![],
    )
}

fn compatible(name: &'static str, compatible: &str, properties: &[(&'static str, Vec<u8>)]) -> Node<'static> {
    let mut node = node(name, properties, vec![]);
    node.push_property("compatible", format!("{compatible}\0").into_bytes());
    node
}

fn invalid<T>(node: &str, property: &'static str) -> Result<T, ReadFdtError> {
    Err(ReadFdtError::Invalid {
        node: node.to_owned(),
        property,
    })
}

#[test]
fn ram_is_that_of_the_memory_nodes() {
    let banks = tree(vec![
        bank("memory@80000000", &[0, 0x8000_0000, 0, 0x1000, 1, 0, 0, 0x2000]),
        bank("memory@90000000", &[0, 0x9000_0000, 0, 0x1000, 0, 0, 0, 0]),
        node(
            "memory@1",
            &[("reg", cells(&[0; 4])), ("status", b"disabled\0".to_vec())],
            vec![],
        ),
    ]);
    let ram: Vec<_> = memory(&banks).unwrap().ram().collect();
    assert_eq!(
        ram,
        [
            range(0x8000_0000, 0x1000),
            range(0x9000_0000, 0x1000),
            range(1 << 32, 0x2000)
        ]
    );
}

#[test]
fn malformed_memory_is_refused() {
    let refuse = |nodes, expected| assert_eq!(memory(&tree(nodes)), expected);
    refuse(vec![], Err(ReadFdtError::NoMemory));
    refuse(vec![bank("memory", &[0; 4])], Err(ReadFdtError::NoMemory));
    refuse(vec![bank("memory@1", &[0; 3])], invalid("memory@1", "reg"));
    refuse(
        vec![bank("memory", &[u32::MAX, 0, 1, 0])],
        invalid("memory", "reg"),
    );
    refuse(vec![node("memory", &[], vec![])], invalid("memory", "reg"));
    let twice = bank("memory", &[0, 0, 0, 0x2000, 0, 0x1000, 0, 0x1000]);
    assert!(matches!(memory(&tree(vec![twice])), Err(ReadFdtError::Memory(_))));
    let many: Vec<u32> = (0..=u32::try_from(MAX_BANKS).unwrap())
        .flat_map(|bank| [0, bank * 0x2000, 0, 0x1000])
        .collect();
    refuse(vec![bank("memory", &many)], Err(ReadFdtError::TooManyBanks));
    let without_cells = DeviceTree::new(node("", &[], vec![bank("memory", &[0, 0, 0, 1])]));
    assert!(matches!(memory(&without_cells), Err(ReadFdtError::Cells(_))));
}

#[test]
fn addresses_are_those_of_the_cpu() {
    // A bus with 32-bit addresses at 0x4_0000_0000, in it one with the same addresses, one that is not mapped, and one with three cells.
    let device = |reg: &[u32]| compatible("device@0", "virtio,mmio", &[("reg", cells(reg))]);
    let bus = |name, properties: &[(&'static str, Vec<u8>)], child| {
        let mut all = vec![("#address-cells", cells(&[1])), ("#size-cells", cells(&[1]))];
        all.extend_from_slice(properties);
        node(name, &all, vec![child])
    };
    let mut outer = bus(
        "outer",
        &[("ranges", cells(&[0x1000, 4, 0, 0x1000, 0x8000, 5, 0, 0x1000]))],
        device(&[0x8200, 0x200]),
    );
    outer
        .children
        .push(bus("same", &[("ranges", vec![])], device(&[0x1000, 0x1000])));
    outer
        .children
        .push(bus("across", &[("ranges", vec![])], device(&[0x1fff, 2])));
    outer
        .children
        .push(bus("unmapped", &[], device(&[0x1000, 0x1000])));
    let three = [
        ("#address-cells", cells(&[3])),
        ("#size-cells", cells(&[2])),
        ("ranges", cells(&[1; 7])),
    ];
    outer.children.push(node("three", &three, vec![device(&[0; 5])]));
    let mut disabled = device(&[0x1000, 0x200]);
    disabled.name = "device@1".into();
    disabled.push_property("status", b"disabled\0".to_vec());
    outer.children.push(disabled);
    let found = virtio_mmio(&tree(vec![outer, device(&[0, 0x7000, 0, 0x200])])).unwrap();
    assert_eq!(
        found,
        [
            range(5 << 32 | 0x200, 0x200),
            range(4 << 32, 0x1000),
            range(0x7000, 0x200)
        ]
    );
}

#[test]
fn malformed_addresses_are_refused() {
    let device = |reg: &[u32]| compatible("device@0", "virtio,mmio", &[("reg", cells(reg))]);
    let refuse = |nodes, name, property| assert_eq!(virtio_mmio(&tree(nodes)), invalid(name, property));
    refuse(vec![device(&[0, 0])], "device@0", "reg");
    refuse(vec![device(&[0, 0x1000, 0, 0])], "device@0", "reg");
    refuse(vec![device(&[u32::MAX, u32::MAX, 0, 2])], "device@0", "reg");
    for ranges in [
        &[0, 0, 0][..],
        &[0, 0, u32::MAX, u32::MAX, 0, 0x2000],
        &[u32::MAX, u32::MAX, 0, 0, 1, 0],
    ] {
        let properties = [
            ("#address-cells", cells(&[2])),
            ("#size-cells", cells(&[2])),
            ("ranges", cells(ranges)),
        ];
        let bus = node("bus", &properties, vec![device(&[0, 0x1000, 0, 0x200])]);
        refuse(vec![bus], "bus", "ranges");
    }
    // A bus whose entries have no length.
    let none = vec![("#address-cells", cells(&[0])), ("#size-cells", cells(&[0]))];
    let one = vec![("#address-cells", cells(&[1])), ("#size-cells", cells(&[1]))];
    let with = |cells: &[_], ranges| [cells, &[("ranges", ranges)]].concat();
    let inner = node(
        "inner",
        &with(&one, cells(&[0x1000, 0x1000])),
        vec![device(&[0x1000, 0x200])],
    );
    let outer = node("outer", &with(&none, cells(&[0])), vec![inner]);
    let tree = DeviceTree::new(node("", &none, vec![outer]));
    assert_eq!(virtio_mmio(&tree), invalid("outer", "ranges"));
}

fn port(name: &'static str, compatible_with: &str, extra: &[(&'static str, Vec<u8>)]) -> Node<'static> {
    let mut properties = vec![("reg", cells(&[0, 0x900_0000, 0, 0x1000]))];
    properties.extend_from_slice(extra);
    compatible(name, compatible_with, &properties)
}

fn chosen(properties: &[(&'static str, &'static str)]) -> Node<'static> {
    let mut chosen = Node::new("chosen");
    for (name, value) in properties {
        chosen.push_property(*name, format!("{value}\0").into_bytes());
    }
    chosen
}

#[test]
fn the_console_is_that_of_stdout_path() {
    let console = |nodes| serial_port(&tree(nodes)).map(|port| port.map(|port| (port.kind, port.range)));
    let first = || port("serial@1", "ns16550a", &[]);
    let second = || port("serial@2", "arm,pl011", &[]);
    let all = range(0x900_0000, 0x1000);
    let expect = |path, kind| {
        let mut aliases = chosen(&[("serial0", "/serial@2")]);
        aliases.name = "aliases".into();
        let nodes = vec![aliases, chosen(&[("stdout-path", path)]), first(), second()];
        assert_eq!(console(nodes), Ok(Some((kind, all))), "{path}");
    };
    expect("/serial@2:115200n8", SerialKind::Pl011);
    expect("serial0", SerialKind::Pl011);
    expect("/serial", SerialKind::NS16550A);
    // Paths that lead nowhere: the first port.
    for path in ["", "/", ":", "serial1", "/serial@2/x", "/x/serial@2", "serial@2"] {
        expect(path, SerialKind::NS16550A);
    }
    let wide = port(
        "serial@3",
        "vendor,uart\0ns16550a",
        &[
            ("reg-shift", cells(&[2])),
            ("reg-io-width", cells(&[4])),
            ("reg-offset", cells(&[0x100])),
        ],
    );
    let kind = SerialKind::Ns16550a {
        reg_shift: 2,
        reg_io_width: 4,
    };
    assert_eq!(console(vec![wide]), Ok(Some((kind, range(0x900_0100, 0xf00)))));
    assert_eq!(console(vec![port("serial", "other", &[])]), Ok(None));
}

#[test]
fn malformed_ports_are_refused() {
    for (property, value) in [
        ("reg-shift", cells(&[9])),
        ("reg-shift", vec![]),
        ("reg-io-width", cells(&[3])),
        // Wider than the distance of the registers.
        ("reg-io-width", cells(&[4])),
        ("reg-io-width", cells(&[0])),
    ] {
        let port = port("serial", "ns16550a", &[(property, value)]);
        assert_eq!(serial_port(&tree(vec![port])), invalid("serial", property));
    }
    for offset in [0x1000, 0x1001, 1] {
        let port = port("serial", "arm,pl011", &[("reg-offset", cells(&[offset]))]);
        assert_eq!(serial_port(&tree(vec![port])), invalid("serial", "reg"));
    }
}

fn host(properties: &[(&'static str, Vec<u8>)]) -> DeviceTree<'static> {
    let mut all = vec![("#address-cells", cells(&[3])), ("#size-cells", cells(&[2]))];
    all.extend_from_slice(properties);
    tree(vec![compatible("pcie", "pci-host-ecam-generic", &all)])
}

#[test]
fn pci_hosts_have_windows() {
    let ranges = cells(&[
        0x0100_0000,
        0,
        0,
        0,
        0x3eff_0000,
        0,
        0x1_0000, //
        0x0200_0000,
        0,
        0x1000_0000,
        0,
        0x1000_0000,
        0,
        0x2eff_0000, //
        0x4300_0000,
        0x80,
        0,
        0x80,
        0,
        0x80,
        0,
    ]);
    let found = pci_hosts(&host(&[
        ("reg", cells(&[0x40, 0x1000_0000, 0, 0x1000_0000])),
        ("bus-range", cells(&[0, 0xf])),
        ("ranges", ranges),
    ]))
    .unwrap();
    let [host] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(host.ecam, range(0x40_1000_0000, 16 << 20));
    assert_eq!(
        host.windows,
        [
            PciWindow::new(PciSpace::Io, range(0x3eff_0000, 0x1_0000), 0),
            PciWindow::new(PciSpace::Memory32, range(0x1000_0000, 0x2eff_0000), 0x1000_0000),
            PciWindow::new(PciSpace::Memory64, range(0x80 << 32, 0x80 << 32), 0x80 << 32),
        ]
    );
}

#[test]
fn malformed_pci_hosts_are_refused() {
    let reg = || ("reg", cells(&[0, 0x3000_0000, 0, 0x1000_0000]));
    let check = |properties: &[_], expected| assert_eq!(pci_hosts(&host(properties)), expected);
    check(
        &[("reg", cells(&[0, 0x3000_1000, 0, 0x1000_0000]))],
        invalid("pcie", "reg"),
    );
    check(
        &[("reg", cells(&[0, 0x3000_0000, 0, 0xf_ffff]))],
        invalid("pcie", "reg"),
    );
    check(
        &[reg(), ("ranges", cells(&[0x0200_0000; 6]))],
        invalid("pcie", "ranges"),
    );
    for buses in [&[0][..], &[0, 256], &[0, 1, 2]] {
        check(
            &[reg(), ("bus-range", cells(buses))],
            invalid("pcie", "bus-range"),
        );
    }
    let first = ReadFdtError::FirstBus {
        node: "pcie".to_owned(),
        first: 3,
    };
    check(&[reg(), ("bus-range", cells(&[3, 5]))], Err(first));
}

#[test]
fn the_method_of_psci() {
    let psci = |method: &str| {
        let method = ("method", format!("{method}\0").into_bytes());
        psci_method(&tree(vec![compatible(
            "psci",
            "arm,psci-1.0\0arm,psci-0.2",
            &[method],
        )]))
    };
    assert_eq!(psci("hvc"), Ok(Some(PsciMethod::Hvc)));
    assert_eq!(psci("smc"), Ok(Some(PsciMethod::Smc)));
    assert_eq!(psci("svc"), invalid("psci", "method"));
    assert_eq!(psci_method(&tree(vec![])), Ok(None));
}

#[test]
fn real_time_clocks() {
    let check = |kind: &str, reg: &[u32], expected: Result<Option<(ClockKind, GuestRange)>, ReadFdtError>| {
        let reg = [("reg", cells(reg))];
        let second = compatible("rtc@9", "arm,pl031", &[("reg", cells(&[0, 0x9000, 0, 0x1000]))]);
        let tree = tree(vec![compatible("rtc", kind, &reg), second]);
        let found = real_time_clock(&tree).map(|clock| clock.map(|clock| (clock.kind, clock.range)));
        assert_eq!(found, expected);
    };
    let at = range(0x901_0000, 0x1000);
    let reg = [0, 0x901_0000, 0, 0x1000];
    check("arm,pl031\0arm,primecell", &reg, Ok(Some((ClockKind::Pl031, at))));
    check("google,goldfish-rtc", &reg, Ok(Some((ClockKind::Goldfish, at))));
    check("x", &reg, Ok(Some((ClockKind::Pl031, range(0x9000, 0x1000)))));
    check("arm,pl031", &[0, 0x901_0002, 0, 0x1000], invalid("rtc", "reg"));
    check("arm,pl031", &[0, 0x901_0000, 0, 8], invalid("rtc", "reg"));
    assert_eq!(real_time_clock(&tree(vec![])), Ok(None));
}

#[test]
fn the_frequency_of_the_time_csr() {
    let with = |value: &[u32]| {
        let cpus = node("cpus", &[("timebase-frequency", cells(value))], vec![]);
        timebase_frequency(&tree(vec![cpus]))
    };
    assert_eq!(with(&[10_000_000]), Ok(Some(10_000_000)));
    assert_eq!(with(&[0]), invalid("cpus", "timebase-frequency"));
    assert_eq!(with(&[0, 1]), invalid("cpus", "timebase-frequency"));
    assert_eq!(
        timebase_frequency(&tree(vec![node("cpus", &[], vec![])])),
        Ok(None)
    );
    assert_eq!(timebase_frequency(&tree(vec![])), Ok(None));
}

#[test]
fn bootargs_are_one_string() {
    let with = |value: &'static [u8]| {
        let tree = tree(vec![node("chosen", &[("bootargs", value.to_vec())], vec![])]);
        bootargs(&tree).map(str::to_owned)
    };
    assert_eq!(with(b"quiet splash\0").as_deref(), Some("quiet splash"));
    for value in [&b""[..], b"quiet", b"a\0b\0", b"\xff\0"] {
        assert_eq!(with(value), None);
    }
}

#[test]
fn seeds_are_those_of_chosen() {
    let with = |rng: &[u8], kaslr: &[u8]| {
        let seeds = [("rng-seed", rng.to_vec()), ("kaslr-seed", kaslr.to_vec())];
        let tree = tree(vec![node("chosen", &seeds, vec![])]);
        (read::rng_seed(&tree).map(<[u8]>::to_vec), read::kaslr_seed(&tree))
    };
    assert_eq!(
        with(&[1, 2], &[0, 0, 0, 0, 0, 0, 1, 2]),
        (Some(vec![1, 2]), Some(0x102))
    );
    assert_eq!(with(&[], &[0; 8]), (None, None));
    assert_eq!(with(&[], &[1; 4]), (None, None));
}

#[test]
fn created_trees_are_read_back() {
    let machine = virt::arm64_machine(1 << 30, NonZeroU32::new(2).unwrap(), Gic::V3WithIts).unwrap();
    let dtb = create_fdt(&machine, &Chosen::new().with_bootargs(b"quiet\0")).unwrap();
    let tree = DeviceTree::parse(&dtb).unwrap();
    assert_eq!(memory(&tree).unwrap(), machine.memory);
    assert_eq!(bootargs(&tree), Some("quiet"));
    let platform = &machine.platform;
    assert_eq!(psci_method(&tree).unwrap(), platform.psci.map(|psci| psci.method));
    let [first, ..] = platform.serial.as_slice() else {
        panic!("the reference machine has a console");
    };
    let console = serial_port(&tree).unwrap().map(|port| (port.kind, port.range));
    assert_eq!(console, Some((first.kind, first.range)));
    let mut slots = virtio_mmio(&tree).unwrap();
    slots.sort_by_key(|range| range.start());
    let expected: Vec<_> = platform.virtio_mmio.iter().map(|slot| slot.range).collect();
    assert_eq!(slots, expected);
    let hosts = pci_hosts(&tree).unwrap();
    let found: Vec<_> = hosts.iter().map(|host| (host.ecam, &host.windows)).collect();
    let expected: Vec<_> = platform
        .pci
        .iter()
        .map(|host| (host.ecam, &host.windows))
        .collect();
    assert_eq!(found, expected);
}

/// Trees of nodes and properties that the readers look at, with values of any bytes.
fn any_node(depth: u32) -> BoxedStrategy<Node<'static>> {
    let names = prop::sample::select(vec!["memory", "bus", "pcie", "serial", "chosen", "aliases"]);
    let properties = prop::sample::select(vec![
        "reg",
        "ranges",
        "bus-range",
        "#address-cells",
        "#size-cells",
        "status",
        "stdout-path",
        "reg-shift",
        "reg-io-width",
        "reg-offset",
        "method",
    ]);
    let small = prop::sample::select(vec![
        cells(&[1]),
        cells(&[2]),
        cells(&[0]),
        cells(&[3]),
        vec![],
        b"/bus\0".to_vec(),
    ]);
    let value = prop_oneof![small, prop::collection::vec(any::<u8>(), 0..64)];
    let kinds = prop::sample::select(vec![
        "virtio,mmio",
        "pci-host-ecam-generic",
        "arm,pl011",
        "ns16550a",
        "arm,psci-0.2",
        "arm,pl031",
    ]);
    let children = if depth == 0 {
        Just(Vec::new()).boxed()
    } else {
        prop::collection::vec(any_node(depth - 1), 0..4).boxed()
    };
    (
        names,
        prop::collection::vec((properties, value), 0..6),
        kinds,
        children,
    )
        .prop_map(|(name, properties, kind, children)| {
            let mut node = compatible(name, kind, &properties);
            node.children = children;
            node
        })
        .boxed()
}

proptest! {
    #[test]
    fn any_tree_is_read_or_refused(mut root in any_node(3)) {
        root.name = "".into();
        let tree = DeviceTree::new(root);
        let _ = (memory(&tree), bootargs(&tree), psci_method(&tree), timebase_frequency(&tree));
        if let Ok(Some(clock)) = real_time_clock(&tree) {
            prop_assert!(clock.range.start() % 4 == 0 && clock.range.len() >= 16);
        }
        for range in virtio_mmio(&tree).unwrap_or_default() {
            prop_assert!(!range.is_empty());
        }
        if let Ok(Some(port)) = serial_port(&tree) {
            prop_assert!(port.range.start() % 4 == 0 && !port.range.is_empty());
        }
        for host in pci_hosts(&tree).unwrap_or_default() {
            prop_assert!(host.ecam.len() % (1 << 20) == 0 && host.ecam.len() <= 256 << 20);
            prop_assert!(host.windows.iter().all(|window| !window.range.is_empty()));
        }
    }
}
