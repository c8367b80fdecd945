//! Nodes of the caller's own: written as they are, or refused with the reason.

#[path = "support/reference.rs"]
mod reference;

use std::error::Error as _;

use boot_core::machine::{DtNode, DtReference, DtValue, Interrupt, Line};
use boot_core::{GuestRange, Machine};
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node as _, Property as _};
use proptest::prelude::*;
use proto_fdt::{Chosen, CreateFdtError, create_fdt};

const ARM64: &str = "arm64-gicv3-its";
const GICV2: &str = "arm64-gicv2";
const APLIC: &str = "riscv64-aplic";

fn machine(name: &str, nodes: Vec<DtNode>) -> Machine {
    let mut all = reference::machines().into_iter();
    let (_, mut machine) = all.find(|(known, _)| *known == name).unwrap();
    machine.platform.nodes = nodes;
    machine
}

/// Asserts that a node of a tree has these properties and children, in this order.
fn assert_node(found: &FdtNode<'_>, expected: &DtNode, bytes: &impl Fn(&DtValue) -> Vec<u8>) {
    let properties: Vec<_> = found
        .properties()
        .map(|property| (property.name().to_owned(), property.value().to_vec()))
        .collect();
    let wanted: Vec<_> = expected
        .properties
        .iter()
        .map(|property| {
            let value: Vec<u8> = property.value.iter().flat_map(bytes).collect();
            (property.name.to_string(), value)
        })
        .collect();
    assert_eq!(properties, wanted, "{}", expected.name);
    let children: Vec<_> = found.children().collect();
    assert_eq!(children.len(), expected.children.len(), "{}", expected.name);
    for (child, wanted) in children.iter().zip(&expected.children) {
        assert_eq!(child.name(), wanted.name);
        assert_node(child, wanted, bytes);
    }
}

/// Asserts that the last nodes of the machine's tree are its own nodes.
fn check(machine: &Machine, bytes: impl Fn(&DtValue) -> Vec<u8>) {
    let dtb = create_fdt(machine, &Chosen::default()).unwrap();
    let tree = Fdt::new(&dtb).unwrap();
    let children: Vec<_> = tree.root().children().collect();
    let nodes = &machine.platform.nodes;
    let own = &children[children.len() - nodes.len()..];
    for (found, expected) in own.iter().zip(nodes) {
        assert_eq!(found.name(), expected.name);
        assert_node(found, expected, &bytes);
    }
}

/// The bytes of a part with a number of its own.
fn plain(part: &DtValue) -> Vec<u8> {
    match part {
        DtValue::Bytes(bytes) => bytes.to_vec(),
        DtValue::String(string) => [string.as_bytes(), b"\0"].concat(),
        DtValue::U32(number) => number.to_be_bytes().to_vec(),
        DtValue::U64(number) => number.to_be_bytes().to_vec(),
        DtValue::Phandle(DtReference::InterruptController) => vec![0, 0, 0, 1],
        DtValue::Phandle(DtReference::MsiController) => vec![0, 0, 0, 2],
        other => panic!("{other:?}"),
    }
}

fn value() -> impl Strategy<Value = DtValue> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| DtValue::Bytes(bytes.into())),
        "[ -~]{0,12}".prop_map(|string| DtValue::String(string.into())),
        any::<u32>().prop_map(DtValue::U32),
        any::<u64>().prop_map(DtValue::U64),
        Just(DtValue::Phandle(DtReference::InterruptController)),
        Just(DtValue::Phandle(DtReference::MsiController)),
    ]
}

fn node() -> impl Strategy<Value = DtNode> {
    let properties = || {
        proptest::collection::btree_map(
            "[0-9a-zA-Z,._+?#-]{1,31}",
            proptest::collection::vec(value(), 0..4),
            0..4,
        )
    };
    let with = |properties: std::collections::BTreeMap<String, Vec<DtValue>>| {
        let mut node = DtNode::new("");
        for (name, value) in properties {
            if !["phandle", "linux,phandle", "ibm,phandle"].contains(&&*name) {
                node = node.with_property(name, value);
            }
        }
        node
    };
    let leaf = properties().prop_map(with);
    leaf.prop_recursive(4, 20, 4, move |inner| {
        let children =
            proptest::collection::btree_map("own[0-9a-zA-Z,._+-]{0,28}(@[0-9a-f,]{1,8})?", inner, 0..4);
        (properties(), children).prop_map(move |(properties, children)| {
            let named = children.into_iter().map(|(name, mut node)| {
                node.name = name.into();
                node
            });
            let mut node = with(properties);
            node.children = named.collect();
            node
        })
    })
}

proptest! {
    #[test]
    fn nodes_are_written_as_they_are(node in node()) {
        check(&machine(ARM64, node.children), plain);
    }
}

#[test]
fn interrupts_have_the_specifiers_of_the_controller() {
    let interrupts = |line: fn(u32) -> Line| {
        let parts = [Interrupt::level(line(7)), Interrupt::edge(line(8))].map(DtValue::Interrupt);
        vec![DtNode::new("own").with_property("interrupts", parts)]
    };
    let cells = |cells: &[u32]| cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
    let read = |part: &DtValue, encode: &dyn Fn(u32, u32) -> Vec<u8>| match part {
        DtValue::Interrupt(interrupt) => {
            let (Line::Spi(number) | Line::Ppi(number) | Line::Source(number)) = interrupt.line else {
                panic!("{interrupt:?}");
            };
            encode(number, interrupt.trigger.irq_type())
        }
        other => panic!("{other:?}"),
    };
    let case = |name, line, encode: &dyn Fn(u32, u32) -> Vec<u8>| {
        check(&machine(name, interrupts(line)), |part| read(part, encode));
    };
    case(ARM64, Line::Spi, &|number, flags| cells(&[0, number, flags]));
    case(ARM64, Line::Ppi, &|number, flags| cells(&[1, number, flags]));
    case(GICV2, Line::Ppi, &|number, flags| {
        cells(&[1, number, flags | 0xf00])
    });
    case(APLIC, Line::Source, &|number, flags| cells(&[number, flags]));
    case("riscv64-plic", Line::Source, &|number, _| cells(&[number]));
}

/// Expects an error for these nodes, with this text and source.
fn refuse(name: &str, nodes: Vec<DtNode>, expected: &[&str]) {
    let error = create_fdt(&machine(name, nodes), &Chosen::default()).unwrap_err();
    let mut found = vec![error.to_string()];
    found.extend(error.source().map(ToString::to_string));
    assert_eq!(found, expected);
}

fn own() -> DtNode {
    DtNode::new("own")
}

fn number(name: &'static str, number: u32) -> DtNode {
    own().with_property(name, [DtValue::U32(number)])
}

#[test]
fn names_that_nodes_and_properties_cannot_have_are_refused() {
    let long = "a".repeat(32);
    let far = format!("a@{}", "0".repeat(254));
    for name in [
        "", "@0", "1a", "a@", "a@0@1", "a/b", "a b", "ä", "a?", &long, &far,
    ] {
        let node = DtNode::new(name.to_owned());
        let nodes = vec![own().with_child(node)];
        refuse(
            ARM64,
            nodes,
            &[
                &format!("the node `/own/{name}` of the platform cannot be written"),
                "its name must be 1 to 31 letters, digits, or characters of `,._+-`, beginning with a letter; a unit \
                 address of such characters may follow behind `@`, with at most 255 characters in all",
            ],
        );
    }
    for name in ["", "a/b", "a b", "ä", "a@1", "a\0", &long] {
        refuse(
            ARM64,
            vec![own().with_property(name.to_owned(), [])],
            &[
                "the node `/own` of the platform cannot be written",
                &format!(
                    "the name of its property `{name}` must be 1 to 31 letters, digits, or characters of `,._+?#-`"
                ),
            ],
        );
    }
    let good = format!("{}@{}", "a".repeat(31), "0".repeat(223));
    check(
        &machine(ARM64, vec![DtNode::new(good).with_property("a".repeat(31), [])]),
        plain,
    );
}

#[test]
fn names_differ_within_a_node() {
    let twice = own().with_property("a", []).with_property("a", []);
    refuse(
        ARM64,
        vec![twice],
        &[
            "the node `/own` of the platform cannot be written",
            "it has two properties `a`",
        ],
    );
    for name in ["chosen", "cpus", "memory@80000000", "timer", "own"] {
        let nodes = vec![own(), DtNode::new(name)];
        let expected = format!("the device tree has two nodes `{name}` with the same parent");
        refuse(ARM64, nodes, &[&expected]);
    }
    let inner = DtNode::new("inner@1");
    refuse(
        ARM64,
        vec![own().with_child(inner.clone()).with_child(inner.clone())],
        &["the device tree has two nodes `inner@1` with the same parent"],
    );
    let cousins = vec![own().with_child(inner.clone()), inner.with_child(own())];
    check(&machine(ARM64, cousins), plain);
}

#[test]
fn phandles_are_unique_and_not_those_of_other_nodes() {
    let node = "the node `/own` of the platform cannot be written";
    let range = "its `phandle` must be one `DtValue::U32` from 0x100 to 0xfffffff: other numbers are those of nodes \
                 that `create_fdt` makes";
    for phandle in [0, 1, 3, 0xff, 0x1000_0000, 0x2000_0001, 0x3000_0000, u32::MAX] {
        refuse(ARM64, vec![number("phandle", phandle)], &[node, range]);
    }
    for value in [vec![], vec![DtValue::U64(0x100)], vec![DtValue::U32(0x100); 2]] {
        refuse(ARM64, vec![own().with_property("phandle", value)], &[node, range]);
    }
    for name in ["linux,phandle", "ibm,phandle"] {
        let text = format!("its property `{name}` is an old name of `phandle`: use that");
        refuse(ARM64, vec![number(name, 0x100)], &[node, &text]);
    }
    let mut first = number("phandle", 0xfff_ffff);
    first.name = "first".into();
    refuse(
        ARM64,
        vec![first.clone().with_child(number("phandle", 0xfff_ffff))],
        &[
            "the node `/first/own` of the platform cannot be written",
            "another node has its phandle 0xfffffff, too",
        ],
    );
    check(&machine(ARM64, vec![first, number("phandle", 0x100)]), plain);
}

#[test]
fn values_refer_to_what_the_machine_has() {
    let with = |part| vec![own().with_property("a", [part])];
    let node = "the node `/own` of the platform cannot be written";
    refuse(
        ARM64,
        with(DtValue::String("a\0b".into())),
        &[
            node,
            "a string of its property `a` has a NUL, which `create_fdt` appends itself",
        ],
    );
    refuse(
        APLIC,
        with(DtValue::Phandle(DtReference::MsiController)),
        &[
            node,
            "its property `a` refers to the MSI controller, which the machine does not have",
        ],
    );
    for (name, line) in [
        (ARM64, Line::Spi(988)),
        (ARM64, Line::Source(1)),
        (APLIC, Line::Spi(1)),
    ] {
        let text = format!("its property `a` has {line}, which the interrupt controller does not have");
        refuse(
            name,
            with(DtValue::Interrupt(Interrupt::level(line))),
            &[node, &text],
        );
    }
    // The reference machine's frame has the SPIs 64 to 95.
    refuse(
        GICV2,
        with(DtValue::Interrupt(Interrupt::edge(Line::Spi(95)))),
        &[
            node,
            "its property `a` has SPI 95, which the GICv2m frame uses for MSIs",
        ],
    );
}

#[test]
fn depth_and_size_are_limited() {
    let nested = |depth: usize| {
        let inner = (1..depth).fold(own(), |inner, _| own().with_child(inner));
        vec![inner]
    };
    check(&machine(ARM64, nested(62)), plain);
    let path = "/own".repeat(63);
    let node = format!("the node `{path}` of the platform cannot be written");
    for depth in [63, 1000] {
        refuse(
            ARM64,
            nested(depth),
            &[
                &node,
                "the nodes are nested more than 63 deep, the root node included",
            ],
        );
    }
    let sized = |len: usize| {
        let bytes = DtValue::Bytes(vec![0; len].into());
        vec![DtNode::new("a"), own().with_property("a", [bytes])]
    };
    // Names and tokens of the two nodes and the property count 45 bytes.
    let max = 0x10_0000;
    check(&machine(ARM64, sized(max - 45)), plain);
    refuse(
        ARM64,
        sized(max - 44),
        &[
            "the node `/own` of the platform cannot be written",
            "the nodes up to this one have more than 1048576 bytes",
        ],
    );
    let many = vec![own(); 0x1_0000 * 2];
    let error = create_fdt(&machine(ARM64, many), &Chosen::default()).unwrap_err();
    assert!(matches!(error, CreateFdtError::Node { .. }), "{error:?}");
}

#[test]
fn common_devices_have_the_nodes_of_their_bindings() {
    let at = |start| GuestRange::new(start, 0x1000).unwrap();
    let edge = |n| Interrupt::edge(Line::Spi(n));
    let nodes = vec![
        DtNode::vmgenid(at(0x900_3000), edge(40)),
        DtNode::vmclock(at(0x900_4000), edge(41)),
        DtNode::fixed_clock("clock-rtc", 24_000_000, 0x100),
        DtNode::pl031(at(0x900_5000), Interrupt::level(Line::Spi(42)), 0x100),
    ];
    let dtb = create_fdt(&machine(ARM64, nodes), &Chosen::default()).unwrap();
    let tree = Fdt::new(&dtb).unwrap();
    let property = |node: &str, name: &str| {
        let root = tree.root();
        let node = root.children().find(|child| child.name() == node).unwrap();
        let found = node.properties().find(|property| property.name() == name);
        found.unwrap().value().to_vec()
    };
    let cells = |cells: &[u32]| -> Vec<u8> { cells.iter().flat_map(|cell| cell.to_be_bytes()).collect() };
    for (name, compatible, reg, interrupt) in [
        ("rng@9003000", &b"microsoft,vmgenid\0"[..], 0x900_3000, [0, 40, 1]),
        ("ptp@9004000", b"amazon,vmclock\0", 0x900_4000, [0, 41, 1]),
        (
            "rtc@9005000",
            b"arm,pl031\0arm,primecell\0",
            0x900_5000,
            [0, 42, 4],
        ),
    ] {
        assert_eq!(property(name, "compatible"), compatible, "{name}");
        assert_eq!(property(name, "reg"), cells(&[0, reg, 0, 0x1000]), "{name}");
        assert_eq!(property(name, "interrupts"), cells(&interrupt), "{name}");
    }
    assert_eq!(
        property("rtc@9005000", "clocks"),
        property("clock-rtc", "phandle")
    );
    assert_eq!(property("rtc@9005000", "clock-names"), b"apb_pclk\0");
    assert_eq!(property("clock-rtc", "clock-frequency"), cells(&[24_000_000]));
    assert_eq!(property("clock-rtc", "#clock-cells"), cells(&[0]));
}
