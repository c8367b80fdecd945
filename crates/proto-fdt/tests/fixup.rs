//! A caller's tree: what depends on the boot is replaced, everything else stays, and bytes that are no proper tree
//! are refused with the place and the reason.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/view.rs"]
#[expect(dead_code, reason = "these trees are compared node by node, not as machines")]
mod view;

use std::num::NonZeroU32;

use boot_core::machine::ReservedMemory;
use boot_core::{Arch, GuestRange, MemoryMap, RegionKind};
use hv_core::virt::{self, Gic};
use machine::Dice;
use proptest::prelude::*;
use proto_fdt::blob::{Blob, BlobErrorKind, MAX_DEPTH, MAX_LEN, MAX_NAME, Node};
use proto_fdt::fixup::{self, FixupError, Reservation};
use proto_fdt::{Chosen, tree};

const CHOSEN: [&str; 5] = [
    "bootargs",
    "linux,initrd-start",
    "linux,initrd-end",
    "rng-seed",
    "kaslr-seed",
];

fn reference() -> Vec<u8> {
    let machine = virt::arm64_machine(1 << 30, NonZeroU32::new(2).unwrap(), Gic::V3WithIts).unwrap();
    let chosen = Chosen {
        bootargs: b"old\0",
        initrd: GuestRange::new(0x8000_0000, 0x1000),
        rng_seed: Some(&[1]),
        kaslr_seed: Some(1),
    };
    tree::write(&machine, &chosen).unwrap()
}

/// `old` fitted to a boot, as an independent parser reads it.
fn fitted(old: &[u8], memory: &MemoryMap, chosen: &Chosen<'_>) -> Result<view::Node, FixupError> {
    let mut blob = Blob::parse(old)?;
    fixup::fix(&mut blob, memory, chosen)?;
    let bytes = blob.to_bytes().unwrap();
    assert_eq!(
        Blob::parse(&bytes).as_ref(),
        Ok(&blob),
        "what is written is read back"
    );
    Ok(view::Node::parse(&bytes))
}

/// What a boot changes in a tree, taken out of it.
struct Boot {
    properties: Vec<Option<Vec<u8>>>,
    memory: Vec<(u64, Vec<u8>)>,
    /// What else is in `/chosen`.
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
        let mut dice = Dice(&bytes);
        let machine = machine::machine(&mut dice, arch);
        let other = machine::machine(&mut dice, arch).memory;
        let old = tree::write(&machine, &Chosen { rng_seed: Some(&[1, 2]), ..Chosen::default() }).unwrap();
        let chosen = Chosen {
            bootargs: bootargs.as_deref().unwrap_or_default().as_bytes(),
            initrd: initrd.and_then(|start| GuestRange::new(start.into(), 5)),
            rng_seed: None,
            kaslr_seed: seed,
        };
        let mut found = fitted(&old, &other, &chosen).unwrap();
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
        if let Ok(blob) = Blob::parse(&bytes) {
            let again = blob.to_bytes().unwrap();
            prop_assert_eq!(Blob::parse(&again), Ok(blob));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(magic) = bytes.get_mut(..4) {
            magic.copy_from_slice(&0xd00d_feed_u32.to_be_bytes());
        }
        let _ = Blob::parse(&bytes);
    }
}

/// A blob of these words of a structure block and these strings.
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

/// The word of a name with up to three letters.
fn name(name: &str) -> u32 {
    let mut word = [0; 4];
    word[..name.len()].copy_from_slice(name.as_bytes());
    u32::from_be_bytes(word)
}

#[test]
fn every_broken_rule_of_the_structure_is_named() {
    use BlobErrorKind as Kind;
    let strings = b"a\0bad name\0\0unterminated";
    let check = |structure: &[u32], offset: usize, kind: Kind| {
        let error = Blob::parse(&blob(structure, strings)).unwrap_err();
        assert_eq!(
            (error.offset, error.kind),
            (offset, kind),
            "{structure:?}: {error}"
        );
    };
    let (a, b) = (name("a"), name("b"));
    assert!(Blob::parse(&blob(&[1, 0, 3, 0, 0, 1, a, 2, 4, 2, 4, 9], strings)).is_ok());
    check(&[1, 0, 7], 64, Kind::Token { found: 7 });
    check(&[1, 0, 9], 64, Kind::Unfinished);
    check(&[9], 56, Kind::Unfinished);
    check(&[2, 9], 56, Kind::StrayEnd);
    check(&[1, 0, 2, 2, 9], 68, Kind::StrayEnd);
    check(&[1, 0, 2, 9, 4], 72, Kind::Trailing);
    check(&[1, 0, 2, 1, 0, 2, 9], 68, Kind::Trailing);
    check(&[1, a, 2, 9], 56, Kind::Name);
    check(&[1, 0, 1, 0, 2, 2, 9], 64, Kind::Name);
    check(&[1, 0, 1, name("a/"), 2, 2, 9], 68, Kind::Name);
    check(&[1, 0, 1, u32::MAX, u32::MAX], 68, Kind::Name);
    check(&[3, 0, 0, 9], 56, Kind::PropertyOutside);
    check(&[1, 0, 1, a, 2, 3, 0, 0, 2, 9], 76, Kind::PropertyAfterChild);
    check(&[1, 0, 3, 0, 0, 3, 0, 0, 2, 9], 76, Kind::PropertyTwice);
    check(&[1, 0, 1, a, 2, 1, b, 2, 1, a, 2, 2, 9], 88, Kind::NodeTwice);
    // Names of properties: with a space, empty, without an end, outside of the block.
    let block = 56 + 10 * 4;
    for offset in [2, 11, 12, 99] {
        let structure = [1, 0, 3, 0, offset, 2, 4, 4, 4, 9];
        let error = Blob::parse(&blob(&structure, strings)).unwrap_err();
        assert_eq!(error.kind, Kind::Name, "{offset}");
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
    assert!(Blob::parse(&blob(&deepest, strings)).is_ok());
    deep.extend([1, a]);
    check(&deep, 56 + MAX_DEPTH * 8, Kind::Depth { max: MAX_DEPTH });
}

#[test]
fn every_broken_rule_of_the_header_is_named() {
    use BlobErrorKind as Kind;
    let check = |field: usize, value: u32, kind: Kind| {
        let mut bytes = reference();
        bytes[field * 4..][..4].copy_from_slice(&value.to_be_bytes());
        assert_eq!(Blob::parse(&bytes).unwrap_err().kind, kind, "field {field}");
    };
    let len = reference().len();
    check(0, 0xd00d_fee0, Kind::Magic { found: 0xd00d_fee0 });
    let past = Kind::Truncated {
        what: "whole of it",
        needed: len + 1,
        left: len,
    };
    check(1, u32::try_from(len).unwrap() + 1, past);
    let long = Kind::TooLong {
        found: MAX_LEN + 1,
        max: MAX_LEN,
    };
    check(1, u32::try_from(MAX_LEN).unwrap() + 1, long);
    let misaligned = |block, align| Kind::Misaligned { block, align };
    check(2, 0x39, misaligned("structure block", 4));
    check(2, 0x24, misaligned("structure block", 4));
    check(3, 0, misaligned("strings block", 1));
    check(4, 0x2c, misaligned("memory reservation block", 8));
    let version = |version, last_comp_version| Kind::Version {
        version,
        last_comp_version,
    };
    check(5, 16, version(16, 16));
    check(6, 18, version(17, 18));
    assert!(version(16, 16).is_unsupported() && !misaligned("", 1).is_unsupported());
    let mut bytes = reference();
    bytes[40..56].copy_from_slice(&[0xff; 16]);
    let kind = Blob::parse(&bytes).unwrap_err().kind;
    assert!(matches!(kind, Kind::Reservation { .. }), "{kind:?}");
    let error = Blob::parse(b"\x7fELF").unwrap_err();
    assert_eq!(
        error.to_string(),
        "at byte 0x0 of the device tree: the header needs 0x28 bytes, but only 0x4 are left"
    );
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
                 expected: Result<&[u8], FixupError>| {
        let mut root = Node::new("");
        for (name, value) in cells {
            root.push(*name, *value);
        }
        let mut blob = Blob {
            boot_cpu: 0,
            reservations: Vec::new(),
            root,
        };
        let found = fixup::fix(&mut blob, &memory(banks), &Chosen::default());
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
        Err(FixupError::Number { number: 1 << 32 }),
    );
    let refused = |property| {
        Err(FixupError::Cells {
            node: "root",
            property,
        })
    };
    for bad in [&[0, 0, 0, 0][..], &[0, 0, 0, 3], &[1], &[]] {
        check(&cells(two, bad), bank, refused("#size-cells"));
    }
    // The specification demands both in the root, and readers do not agree on what it means without them.
    check(&[("#size-cells", one)], bank, refused("#address-cells"));
    check(&[("#address-cells", one)], bank, refused("#size-cells"));
}

#[test]
fn reservations_come_from_both_places() {
    let mut root = Node::new("");
    let mut parent = Node::new("reserved-memory");
    parent.push("#address-cells", &[0, 0, 0, 2][..]);
    parent.push("#size-cells", &[0, 0, 0, 1][..]);
    let mut fixed = Node::new("fixed@1000");
    fixed.push(
        "reg",
        &[
            0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0x30,
        ][..],
    );
    fixed.push("no-map", &[][..]);
    // One that the guest places itself.
    let mut dynamic = Node::new("pool");
    dynamic.push("size", &[0, 0, 0, 1][..]);
    parent.children = vec![fixed, dynamic];
    root.children.push(parent);
    let range = |start, len| GuestRange::new(start, len).unwrap();
    let mut blob = Blob {
        boot_cpu: 0,
        reservations: vec![range(0x9000, 0x10)],
        root,
    };
    let found: Vec<_> = fixup::reservations(&blob)
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
        let error = fixup::reservations(&blob).unwrap_err();
        assert_eq!(
            error,
            FixupError::Reg {
                name: "fixed@1000".into()
            },
            "{bad:?}"
        );
    }
}

/// A blob of 2 MiB with as many properties as fit, whose names share one long end.
#[test]
fn long_shared_names_are_refused_at_once() {
    let mut structure = vec![1, 0];
    (0..60_000).for_each(|offset| structure.extend([3, 0, offset]));
    structure.extend([2, 9]);
    let mut strings = vec![b'a'; 1 << 20];
    strings.push(0);
    let error = Blob::parse(&blob(&structure, &strings)).unwrap_err();
    assert_eq!(error.kind, BlobErrorKind::Name);
    // The longest that there can be are read, and written out one by one.
    let strings = [vec![b'a'; MAX_NAME], vec![0]].concat();
    let mut structure = vec![1, 0];
    (0..u32::try_from(MAX_NAME).unwrap()).for_each(|offset| structure.extend([3, 0, offset]));
    structure.extend([2, 9]);
    let bytes = blob(&structure, &strings);
    let read = Blob::parse(&bytes).unwrap();
    assert_eq!(read.root.properties.len(), MAX_NAME);
    assert_eq!(Blob::parse(&read.to_bytes().unwrap()), Ok(read));
}

/// A machine with two cells for addresses and sizes, and these children of its root.
fn tree_of(children: Vec<Node<'_>>) -> Blob<'_> {
    let mut root = Node::new("");
    root.push("#address-cells", &[0, 0, 0, 2][..]);
    root.push("#size-cells", &[0, 0, 0, 2][..]);
    root.children = children;
    Blob {
        boot_cpu: 0,
        reservations: Vec::new(),
        root,
    }
}

fn memory_node(start: u64, len: u64, more: &[(&'static str, u32)]) -> Node<'static> {
    let mut node = Node::new(format!("memory@{start:x}"));
    node.push("device_type", &b"memory\0"[..]);
    node.push("reg", [start.to_be_bytes(), len.to_be_bytes()].concat());
    for (name, value) in more {
        node.push(*name, value.to_be_bytes().to_vec());
    }
    node
}

#[test]
fn banks_keep_what_the_old_nodes_say_of_them() {
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
    fixup::fix(&mut blob, &map, &Chosen::default()).unwrap();
    let expected = [
        memory_node(0x8000_0000, 0x1000_0000, &[("numa-node-id", 0), ("phandle", 7)]),
        // A phandle is one node's.
        memory_node(0xa000_0000, 0x1000_0000, &[("numa-node-id", 0)]),
        memory_node(0x1_1000_0000, 0x1000, &[("numa-node-id", 1)]),
        memory_node(0x2_0000_0000, 0x1000, &[]),
    ];
    assert_eq!(blob.root.children[..4], expected);
}

#[test]
fn the_boot_of_a_running_system_is_forgotten() {
    let mut chosen = Node::new("chosen");
    for name in [
        "linux,usable-memory-range",
        "linux,elfcorehdr",
        "linux,uefi-system-table",
        "linux,uefi-mmap-start",
        "linux,booted-from-kexec",
        "bootargs",
    ] {
        chosen.push(name, &[1][..]);
    }
    chosen.push("stdout-path", &b"/serial\0"[..]);
    let mut blob = tree_of(vec![chosen]);
    fixup::fix(&mut blob, &MemoryMap::new(), &Chosen::default()).unwrap();
    let names: Vec<_> = blob.root.children[0]
        .properties
        .iter()
        .map(|property| &*property.name)
        .collect();
    assert_eq!(names, ["stdout-path"]);
}

#[test]
fn what_the_machine_reserves_must_stand_in_the_tree() {
    let range = |start, len| GuestRange::new(start, len).unwrap();
    let memory = |no_map| ReservedMemory::new("firmware", range(0x8000_0000, 0x1000)).with_no_map(no_map);
    let told = |range, no_map| Reservation { range, no_map };
    let check = |no_map, tree: &[Reservation], is_told: bool| {
        let found = fixup::check_reserved(&[memory(no_map)], tree);
        assert_eq!(found.is_ok(), is_told, "{tree:?}: {found:?}");
    };
    check(false, &[], false);
    check(false, &[told(range(0x8000_0000, 0x1000), false)], true);
    check(false, &[told(range(0x7000_0000, 0x2000_0000), true)], true);
    check(false, &[told(range(0x8000_0000, 0xfff), false)], false);
    check(true, &[told(range(0x8000_0000, 0x1000), false)], false);
    check(true, &[told(range(0x8000_0000, 0x1000), true)], true);
    let error = fixup::check_reserved(&[memory(true)], &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the machine reserves the memory `firmware` at 0x80000000..0x80001000, and the device tree does not with no-map: add \
         it below /reserved-memory"
    );
}
