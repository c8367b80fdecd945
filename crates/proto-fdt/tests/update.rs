//! Updates of an existing tree change only what depends on the boot, and invalid trees are refused with offset and reason.

#[path = "support/view.rs"]
#[expect(dead_code, reason = "these trees are compared node by node, not as machines")]
mod view;

use std::num::NonZeroU32;

use arbitrary::Unstructured;
use boot_core::machine::ReservedMemory;
use boot_core::{Arch, GuestRange, MemoryMap, RegionKind};
use boot_test::fdt;
use hv_core::virt::{self, Gic};
use proptest::prelude::*;
use proto_fdt::device_tree::{DeviceTree, FdtErrorKind, MAX_DEPTH, MAX_LEN, MAX_NAME, Node};
use proto_fdt::{
    Chosen, ReservedRange, UpdateFdtError, check_reserved_memory, create_fdt, reserved_ranges, update_fdt,
};

const CHOSEN: [&str; 5] = [
    "bootargs",
    "linux,initrd-start",
    "linux,initrd-end",
    "rng-seed",
    "kaslr-seed",
];

fn reference() -> Vec<u8> {
    let machine = virt::arm64_machine(1 << 30, NonZeroU32::new(2).unwrap(), Gic::V3WithIts).unwrap();
    let chosen = Chosen::new()
        .with_bootargs(b"old\0")
        .with_initrd(GuestRange::new(0x8000_0000, 0x1000).unwrap())
        .with_rng_seed(&[1])
        .with_kaslr_seed(1);
    create_fdt(&machine, &chosen).unwrap()
}

/// `old` updated for a boot, read by an independent parser.
fn updated(old: &[u8], memory: &MemoryMap, chosen: &Chosen<'_>) -> Result<view::Node, UpdateFdtError> {
    let mut blob = DeviceTree::parse(old).unwrap();
    update_fdt(&mut blob, memory, chosen)?;
    let bytes = blob.to_bytes().unwrap();
    assert_eq!(
        DeviceTree::parse(&bytes).as_ref(),
        Ok(&blob),
        "what is written is read back"
    );
    Ok(view::Node::parse(&bytes))
}

/// The parts of a tree that depend on the boot.
struct Boot {
    properties: Vec<Option<Vec<u8>>>,
    memory: Vec<(u64, Vec<u8>)>,
    /// The rest of `/chosen`.
    chosen: view::Node,
}

fn take_boot(root: &mut view::Node) -> Boot {
    let mut chosen = root.child("chosen").expect("/chosen");
    Boot {
        properties: CHOSEN.iter().map(|name| chosen.bytes(name)).collect(),
        memory: root
            .children("memory")
            .into_iter()
            .map(|(address, mut node)| {
                assert_eq!(node.bytes("device_type").as_deref(), Some(&b"memory\0"[..]));
                let reg = node.bytes("reg").unwrap();
                node.expect_empty("memory");
                (address, reg)
            })
            .collect(),
        chosen,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    /// 2,000 cases, because each is two trees of hundreds of nodes; the trees themselves have 10,000 in `trees.rs`.
    #[test]
    fn only_the_boot_changes(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        arch in prop_oneof![Just(Arch::Aarch64), Just(Arch::Riscv64)],
        bootargs in proptest::option::of("[ -~]{0,60}\0"),
        seed in any::<Option<u64>>(),
        initrd in any::<Option<u32>>(),
    ) {
        let mut u = Unstructured::new(&bytes);
        let mut machine = fdt::machine(&mut u, arch).unwrap();
        // Another test has trees with NUMA nodes, which split banks.
        machine.numa = None;
        let other = fdt::machine(&mut u, arch).unwrap().memory;
        let old = create_fdt(&machine, &Chosen::new().with_rng_seed(&[1, 2])).unwrap();
        let mut chosen = Chosen::new().with_bootargs(bootargs.as_deref().unwrap_or_default().as_bytes());
        chosen.initrd = initrd.and_then(|start| GuestRange::new(start.into(), 5));
        chosen.kaslr_seed = seed;
        let mut found = updated(&old, &other, &chosen).unwrap();
        let mut before = view::Node::parse(&old);
        let old_boot = take_boot(&mut before);
        let boot = take_boot(&mut found);
        prop_assert_eq!(found, before, "the rest stays");
        prop_assert_eq!(boot.chosen, old_boot.chosen, "and so does the rest of /chosen");
        let number = |value: u64| value.to_be_bytes().to_vec();
        prop_assert_eq!(boot.properties, vec![
            (!chosen.bootargs.is_empty()).then(|| chosen.bootargs.to_vec()),
            chosen.initrd.map(|range| number(range.start())),
            chosen.initrd.map(|range| number(range.end())),
            None,
            chosen.kaslr_seed.map(number),
        ]);
        let banks: Vec<_> = other
            .ram()
            .map(|range| (range.start(), [number(range.start()), number(range.len())].concat()))
            .collect();
        prop_assert_eq!(boot.memory, banks);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]

    #[test]
    fn broken_trees_never_panic_and_what_is_accepted_is_kept(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = reference();
        for (index, byte) in changes {
            let len = bytes.len();
            bytes[index.index(len)] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(blob) = DeviceTree::parse(&bytes) {
            let again = blob.to_bytes().unwrap();
            prop_assert_eq!(DeviceTree::parse(&again), Ok(blob));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(magic) = bytes.get_mut(..4) {
            magic.copy_from_slice(&0xd00d_feed_u32.to_be_bytes());
        }
        let _ = DeviceTree::parse(&bytes);
    }
}

/// An FDT with these words of the structure block and these strings.
fn blob(structure: &[u32], strings: &[u8]) -> Vec<u8> {
    let structure: Vec<u8> = structure.iter().flat_map(|word| word.to_be_bytes()).collect();
    let number = |n: usize| u32::try_from(n).unwrap();
    let header = [
        0xd00d_feed,
        number(56 + structure.len() + strings.len()),
        56,
        number(56 + structure.len()),
        40,
        17,
        16,
        0,
        number(strings.len()),
        number(structure.len()),
    ];
    let header = header.iter().flat_map(|word: &u32| word.to_be_bytes());
    header
        .chain([0; 16])
        .chain(structure)
        .chain(strings.iter().copied())
        .collect()
}

/// The word that contains a name of up to three letters.
fn name(name: &str) -> u32 {
    let mut word = [0; 4];
    word[..name.len()].copy_from_slice(name.as_bytes());
    u32::from_be_bytes(word)
}

#[test]
fn invalid_structure_blocks_are_refused() {
    use FdtErrorKind as Kind;
    let strings = b"a\0bad name\0\0unterminated";
    let check = |structure: &[u32], offset: usize, kind: Kind| {
        let error = DeviceTree::parse(&blob(structure, strings)).unwrap_err();
        assert_eq!(
            (error.offset, error.kind),
            (offset, kind),
            "{structure:?}: {error}"
        );
    };
    let (a, b) = (name("a"), name("b"));
    assert!(DeviceTree::parse(&blob(&[1, 0, 3, 0, 0, 1, a, 2, 4, 2, 4, 9], strings)).is_ok());
    check(&[1, 0, 7], 64, Kind::UnknownToken { found: 7 });
    check(&[1, 0, 9], 64, Kind::UnexpectedEnd);
    check(&[9], 56, Kind::UnexpectedEnd);
    check(&[2, 9], 56, Kind::UnexpectedEndNode);
    check(&[1, 0, 2, 2, 9], 68, Kind::UnexpectedEndNode);
    check(&[1, 0, 2, 9, 4], 72, Kind::TrailingData);
    check(&[1, 0, 2, 1, 0, 2, 9], 68, Kind::TrailingData);
    check(&[1, a, 2, 9], 56, Kind::InvalidName);
    check(&[1, 0, 1, 0, 2, 2, 9], 64, Kind::InvalidName);
    check(&[1, 0, 1, name("a/"), 2, 2, 9], 68, Kind::InvalidName);
    check(&[1, 0, 1, u32::MAX, u32::MAX], 68, Kind::InvalidName);
    check(&[3, 0, 0, 9], 56, Kind::PropertyOutsideNode);
    check(&[1, 0, 1, a, 2, 3, 0, 0, 2, 9], 76, Kind::PropertyAfterChild);
    check(&[1, 0, 3, 0, 0, 3, 0, 0, 2, 9], 76, Kind::DuplicateProperty);
    check(&[1, 0, 1, a, 2, 1, b, 2, 1, a, 2, 2, 9], 88, Kind::DuplicateNode);
    // Names of properties: with a space, empty, without an end, outside of the block.
    let block = 56 + 10 * 4;
    for offset in [2, 11, 12, 99] {
        let structure = [1, 0, 3, 0, offset, 2, 4, 4, 4, 9];
        let error = DeviceTree::parse(&blob(&structure, strings)).unwrap_err();
        assert_eq!(error.kind, Kind::InvalidName, "{offset}");
        assert!(error.offset == block + usize::try_from(offset).unwrap() || offset == 11);
    }
    let truncated = |what, needed, left| Kind::Truncated { what, needed, left };
    check(&[1, 0, 2], 68, truncated("token", 4, 0));
    check(&[1, 0, 3, 0], 68, truncated("property", 8, 4));
    check(&[1, 0, 3, 9, 0, 2, 9], 76, truncated("property's value", 9, 8));
    check(
        &[1, 0, 3, u32::MAX, 0, 2, 9],
        76,
        truncated("property's value", 0xffff_ffff, 8),
    );
    let mut deep = vec![1, 0];
    (1..MAX_DEPTH).for_each(|_| deep.extend([1, a]));
    let mut deepest = deep.clone();
    deepest.extend(vec![2; MAX_DEPTH]);
    deepest.push(9);
    assert!(DeviceTree::parse(&blob(&deepest, strings)).is_ok());
    deep.extend([1, a]);
    check(&deep, 56 + MAX_DEPTH * 8, Kind::TooDeep { max: MAX_DEPTH });
}

#[test]
fn invalid_headers_are_refused() {
    use FdtErrorKind as Kind;
    let check = |field: usize, value: u32, kind: Kind| {
        let mut bytes = reference();
        bytes[field * 4..][..4].copy_from_slice(&value.to_be_bytes());
        assert_eq!(DeviceTree::parse(&bytes).unwrap_err().kind, kind, "field {field}");
    };
    let len = reference().len();
    check(0, 0xd00d_fee0, Kind::BadMagic { found: 0xd00d_fee0 });
    let past = Kind::Truncated {
        what: "device tree",
        needed: len + 1,
        left: len,
    };
    check(1, u32::try_from(len).unwrap() + 1, past);
    let long = Kind::TooLarge {
        found: MAX_LEN + 1,
        max: MAX_LEN,
    };
    check(1, u32::try_from(MAX_LEN).unwrap() + 1, long);
    let misaligned = |block, align| Kind::Misaligned { block, align };
    check(2, 0x39, misaligned("structure block", 4));
    check(2, 0x24, misaligned("structure block", 4));
    check(3, 0, misaligned("strings block", 1));
    check(4, 0x2c, misaligned("memory reservation block", 8));
    let version = |version, last_comp_version| Kind::UnsupportedVersion {
        version,
        last_comp_version,
    };
    check(5, 16, version(16, 16));
    check(6, 18, version(17, 18));
    check(
        1,
        u32::try_from(MAX_LEN).unwrap(),
        Kind::Truncated {
            what: "device tree",
            needed: MAX_LEN,
            left: len,
        },
    );
    let unsupported = [version(16, 16), long, Kind::TooDeep { max: MAX_DEPTH }];
    assert!(unsupported.iter().all(|kind| kind.is_unsupported()));
    assert!(!misaligned("", 1).is_unsupported());
    // Later versions that are compatible with version 17.
    for (version, last_comp_version) in [(17, 17), (18, 16), (18, 17)] {
        let mut bytes = reference();
        bytes[20..24].copy_from_slice(&u32::to_be_bytes(version));
        bytes[24..28].copy_from_slice(&u32::to_be_bytes(last_comp_version));
        assert!(DeviceTree::parse(&bytes).is_ok(), "{version} {last_comp_version}");
    }
    let error = DeviceTree::parse(b"\x7fELF").unwrap_err();
    assert_eq!(
        error.to_string(),
        "at byte 0x0 of the device tree: the header needs 0x28 bytes, but only 0x4 are left"
    );
}

#[test]
fn memory_reservations_are_not_empty() {
    // The block has one entry, at the offset 40, and then the entry of zeros.
    let parse = |address: u64, size: u64| {
        let mut tree = tree_of(Vec::new());
        tree.memory_reservations
            .push(GuestRange::new(0x1000, 0x1000).unwrap());
        let mut bytes = tree.to_bytes().unwrap();
        bytes[40..48].copy_from_slice(&address.to_be_bytes());
        bytes[48..56].copy_from_slice(&size.to_be_bytes());
        let parsed = DeviceTree::parse(&bytes);
        parsed.map(|tree| tree.memory_reservations)
    };
    for (address, size) in [(0, 0x1000), (0x1000, 1)] {
        assert_eq!(
            parse(address, size),
            Ok(vec![GuestRange::new(address, size).unwrap()])
        );
    }
    assert_eq!(parse(0, 0), Ok(Vec::new()));
    for (address, size) in [(0x1000, 0), (u64::MAX, 2), (u64::MAX, u64::MAX)] {
        let error = parse(address, size).unwrap_err();
        assert_eq!(
            (error.offset, error.kind),
            (40, FdtErrorKind::InvalidReservation { address, size })
        );
    }
}

#[test]
fn memory_nodes_are_found_by_name_and_by_type() {
    let named = Node::new("memory");
    let mut typed = Node::new("ram@0");
    typed.push_property("device_type", &b"memory\0"[..]);
    let mut other = Node::new("memory-controller@0");
    other.push_property("device_type", &b"memory-controller\0"[..]);
    let mut tree = tree_of(vec![other.clone(), named, Node::new("soc"), typed]);
    let mut map = MemoryMap::new();
    map.insert(GuestRange::new(0x1000, 0x2000).unwrap(), RegionKind::Ram)
        .unwrap();
    update_fdt(&mut tree, &map, &Chosen::new()).unwrap();
    let expected = [
        other,
        memory_node(0x1000, 0x2000, &[]),
        Node::new("soc"),
        Node::new("chosen"),
    ];
    assert_eq!(tree.root.children, expected);
}

#[test]
fn cells_of_the_tree_are_respected() {
    let memory = |ranges: &[(u64, u64)]| {
        let mut map = MemoryMap::new();
        for (start, len) in ranges {
            map.insert(GuestRange::new(*start, *len).unwrap(), RegionKind::Ram)
                .unwrap();
        }
        map
    };
    let check = |cells: &[(&'static str, &'static [u8])],
                 banks: &[(u64, u64)],
                 expected: Result<&[u8], UpdateFdtError>| {
        let mut root = Node::new("");
        for (name, value) in cells {
            root.push_property(*name, *value);
        }
        let mut blob = DeviceTree::new(root);
        let found = update_fdt(&mut blob, &memory(banks), &Chosen::default());
        let found = found.map(|()| blob.root.children[0].property("reg").unwrap());
        assert_eq!(found, expected);
    };
    let (one, two): (&[u8], &[u8]) = (&[0, 0, 0, 1], &[0, 0, 0, 2]);
    let bank = &[(0x4000_0000, 0x1000)];
    let cells = |address, size| [("#address-cells", address), ("#size-cells", size)];
    check(
        &cells(two, one),
        bank,
        Ok(&[0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0x10, 0]),
    );
    check(&cells(one, one), bank, Ok(&[0x40, 0, 0, 0, 0, 0, 0x10, 0]));
    check(
        &cells(two, two),
        bank,
        Ok(&[0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0]),
    );
    check(
        &cells(one, one),
        &[(1 << 32, 0x1000)],
        Err(UpdateFdtError::NumberTooLarge { number: 1 << 32 }),
    );
    let refused = |property| {
        Err(UpdateFdtError::UnsupportedCells {
            node: "root node",
            property,
        })
    };
    for bad in [&[0, 0, 0, 0][..], &[0, 0, 0, 3], &[1], &[]] {
        check(&cells(two, bad), bank, refused("#size-cells"));
    }
    // The specification requires both in the root, and readers use different defaults without them.
    check(&[("#size-cells", one)], bank, refused("#address-cells"));
    check(&[("#address-cells", one)], bank, refused("#size-cells"));
}

#[test]
fn reservations_are_in_the_block_and_in_nodes() {
    let mut root = Node::new("");
    let mut parent = Node::new("reserved-memory");
    parent.push_property("#address-cells", &[0, 0, 0, 2][..]);
    parent.push_property("#size-cells", &[0, 0, 0, 1][..]);
    let mut fixed = Node::new("fixed@1000");
    fixed.push_property(
        "reg",
        &[
            0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0x30,
        ][..],
    );
    fixed.push_property("no-map", &[][..]);
    // A dynamic reservation has no `reg`.
    let mut dynamic = Node::new("pool");
    dynamic.push_property("size", &[0, 0, 0, 1][..]);
    parent.children = vec![fixed, dynamic];
    root.children.push(parent);
    let range = |start, len| GuestRange::new(start, len).unwrap();
    let mut blob = DeviceTree::new(root);
    blob.memory_reservations = vec![range(0x9000, 0x10)];
    let found: Vec<_> = reserved_ranges(&blob)
        .unwrap()
        .iter()
        .map(|reservation| (reservation.range, reservation.no_map))
        .collect();
    assert_eq!(
        found,
        [
            (range(0x9000, 0x10), false),
            (range(0x1000, 0x20), true),
            (range(0x4000, 0x30), true)
        ]
    );
    for bad in [&[0; 11][..], &[0; 16], &[0xff; 12]] {
        blob.root.children[0].children[0].properties[0].value = bad.into();
        let error = reserved_ranges(&blob).unwrap_err();
        assert_eq!(
            error,
            UpdateFdtError::InvalidReg {
                name: "fixed@1000".into()
            },
            "{bad:?}"
        );
    }
}

/// 60,000 properties whose names share one long suffix.
#[test]
fn long_shared_names_are_refused_at_once() {
    let mut structure = vec![1, 0];
    (0..60_000).for_each(|offset| structure.extend([3, 0, offset]));
    structure.extend([2, 9]);
    let mut strings = vec![b'a'; 1 << 20];
    strings.push(0);
    let error = DeviceTree::parse(&blob(&structure, &strings)).unwrap_err();
    assert_eq!(error.kind, FdtErrorKind::InvalidName);
    // Names of the longest length are accepted, and serialized as strings of their own.
    let strings = [vec![b'a'; MAX_NAME], vec![0]].concat();
    let mut structure = vec![1, 0];
    (0..u32::try_from(MAX_NAME).unwrap()).for_each(|offset| structure.extend([3, 0, offset]));
    structure.extend([2, 9]);
    let bytes = blob(&structure, &strings);
    let read = DeviceTree::parse(&bytes).unwrap();
    assert_eq!(read.root.properties.len(), MAX_NAME);
    assert_eq!(DeviceTree::parse(&read.to_bytes().unwrap()), Ok(read));
}

/// A machine with two cells for addresses and sizes, and these children of its root.
fn tree_of(children: Vec<Node<'_>>) -> DeviceTree<'_> {
    let mut root = Node::new("");
    root.push_property("#address-cells", &[0, 0, 0, 2][..]);
    root.push_property("#size-cells", &[0, 0, 0, 2][..]);
    root.children = children;
    DeviceTree::new(root)
}

fn memory_node(start: u64, len: u64, more: &[(&'static str, u32)]) -> Node<'static> {
    let mut node = Node::new(format!("memory@{start:x}"));
    node.push_property("device_type", &b"memory\0"[..]);
    node.push_property("reg", [start.to_be_bytes(), len.to_be_bytes()].concat());
    for (name, value) in more {
        node.push_property(*name, value.to_be_bytes().to_vec());
    }
    node
}

#[test]
fn banks_inherit_the_properties_of_the_old_nodes() {
    let old = vec![
        memory_node(0x8000_0000, 0x4000_0000, &[("numa-node-id", 0), ("phandle", 7)]),
        memory_node(0x1_0000_0000, 0x4000_0000, &[("numa-node-id", 1)]),
    ];
    let mut map = MemoryMap::new();
    for (start, len) in [
        (0x8000_0000_u64, 0x1000_0000),
        (0xa000_0000, 0x1000_0000),
        (0x1_1000_0000, 0x1000),
        (0x2_0000_0000, 0x1000),
    ] {
        map.insert(GuestRange::new(start, len).unwrap(), RegionKind::Ram)
            .unwrap();
    }
    let mut blob = tree_of(old);
    update_fdt(&mut blob, &map, &Chosen::default()).unwrap();
    let expected = [
        memory_node(0x8000_0000, 0x1000_0000, &[("numa-node-id", 0), ("phandle", 7)]),
        // A phandle must stay unique.
        memory_node(0xa000_0000, 0x1000_0000, &[("numa-node-id", 0)]),
        memory_node(0x1_1000_0000, 0x1000, &[("numa-node-id", 1)]),
        // Outside all old nodes: the id of the nearest one below.
        memory_node(0x2_0000_0000, 0x1000, &[("numa-node-id", 1)]),
    ];
    assert_eq!(blob.root.children[..4], expected);
}

/// The memory map has one region for adjacent banks of two NUMA nodes, and RAM below, between and above them.
#[test]
fn banks_are_split_between_numa_nodes() {
    type Properties = &'static [(&'static str, u32)];
    const FIVE: Properties = &[("numa-node-id", 5)];
    const SIX: Properties = &[("numa-node-id", 6)];
    let check = |ids: [Properties; 2], expected: &[(u64, u64, Properties)]| {
        let old = vec![
            memory_node(0x4000_0000, 0x4000_0000, ids[0]),
            memory_node(0x8000_0000, 0x4000_0000, ids[1]),
        ];
        let mut map = MemoryMap::new();
        map.insert(GuestRange::new(0x1000, 0x1000).unwrap(), RegionKind::Ram)
            .unwrap();
        let all = GuestRange::new(0x4000_0000, 0xa000_0000).unwrap();
        map.insert(all, RegionKind::Ram).unwrap();
        let mut blob = tree_of(old);
        update_fdt(&mut blob, &map, &Chosen::default()).unwrap();
        let expected: Vec<_> = expected
            .iter()
            .map(|(start, len, more)| memory_node(*start, *len, more))
            .collect();
        assert_eq!(blob.root.children[..expected.len()], expected);
        assert!(blob.root.child("chosen").is_some());
        assert_eq!(blob.root.children.len(), expected.len() + 1);
    };
    check(
        [FIVE, SIX],
        &[
            (0x1000, 0x1000, FIVE),
            (0x4000_0000, 0x4000_0000, FIVE),
            (0x8000_0000, 0x4000_0000, SIX),
            (0xc000_0000, 0x2000_0000, SIX),
        ],
    );
    // Without NUMA, one node for each bank.
    check(
        [&[], &[]],
        &[(0x1000, 0x1000, &[]), (0x4000_0000, 0xa000_0000, &[])],
    );
}

#[test]
fn many_ranges_of_numa_nodes_are_refused() {
    let check = |count: usize, id: &[(&'static str, u32)], is_refused: bool| {
        let mut node = memory_node(0, 1, id);
        node.properties.retain(|property| property.name != "reg");
        let ranges = (0..count as u64).flat_map(|i| [(4 * i).to_be_bytes(), 1_u64.to_be_bytes()].concat());
        node.push_property("reg", ranges.collect::<Vec<u8>>());
        let mut map = MemoryMap::new();
        map.insert(GuestRange::new(0, 1 << 30).unwrap(), RegionKind::Ram)
            .unwrap();
        let result = update_fdt(&mut tree_of(vec![node]), &map, &Chosen::default());
        let error = UpdateFdtError::TooManyRanges {
            found: count,
            max: 1024,
        };
        assert_eq!(result, if is_refused { Err(error) } else { Ok(()) }, "{count}");
    };
    let id = &[("numa-node-id", 0)];
    check(1024, id, false);
    check(1025, id, true);
    check(1025, &[], false);
}

#[test]
fn properties_of_a_previous_boot_are_removed() {
    let mut chosen = Node::new("chosen");
    for name in [
        "linux,usable-memory-range",
        "linux,elfcorehdr",
        "linux,uefi-system-table",
        "linux,uefi-mmap-start",
        "linux,booted-from-kexec",
        "bootargs",
    ] {
        chosen.push_property(name, &[1][..]);
    }
    chosen.push_property("stdout-path", &b"/serial\0"[..]);
    let mut blob = tree_of(vec![chosen]);
    update_fdt(&mut blob, &MemoryMap::new(), &Chosen::default()).unwrap();
    let names: Vec<_> = blob.root.children[0]
        .properties
        .iter()
        .map(|property| &*property.name)
        .collect();
    assert_eq!(names, ["stdout-path"]);
}

#[test]
fn the_tree_must_have_the_reservations_of_the_machine() {
    let range = |start, len| GuestRange::new(start, len).unwrap();
    let memory = |no_map| ReservedMemory::new("firmware", range(0x8000_0000, 0x1000)).with_no_map(no_map);
    let reserved = ReservedRange::new;
    let check = |no_map, tree: &[ReservedRange], is_reserved: bool| {
        let found = check_reserved_memory(&[memory(no_map)], tree);
        assert_eq!(found.is_ok(), is_reserved, "{tree:?}: {found:?}");
    };
    check(false, &[], false);
    check(false, &[reserved(range(0x8000_0000, 0x1000), false)], true);
    check(false, &[reserved(range(0x7000_0000, 0x2000_0000), true)], true);
    check(false, &[reserved(range(0x8000_0000, 0xfff), false)], false);
    check(true, &[reserved(range(0x8000_0000, 0x1000), false)], false);
    check(true, &[reserved(range(0x8000_0000, 0x1000), true)], true);
    let error = check_reserved_memory(&[memory(true)], &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the machine reserves the memory `firmware` at 0x80000000..0x80001000, but the device tree has no such reservation \
         with no-map: add one to /reserved-memory"
    );
}
