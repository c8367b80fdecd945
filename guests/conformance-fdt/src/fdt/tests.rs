//! Tests with device trees built word by word (Devicetree Specification, chapter 5).

use super::*;

/// A token of a structure block.
#[derive(Clone, Copy)]
enum Part<'a> {
    Begin(&'a str),
    End,
    Prop(&'a str, &'a [u8]),
    Nop,
}

use Part::{Begin, End as EndNode, Nop, Prop};

/// Builds a device tree of these tokens and reservations, with gaps between its blocks.
fn blob(parts: &[Part<'_>], reservations: &[(u64, u64)]) -> Vec<u8> {
    let mut strings: Vec<u8> = Vec::new();
    let mut structure: Vec<u8> = Vec::new();
    for part in parts {
        let (token, content): (u32, Vec<u8>) = match part {
            Begin(name) => (BEGIN_NODE, [name.as_bytes(), b"\0"].concat()),
            EndNode => (END_NODE, Vec::new()),
            Nop => (NOP, Vec::new()),
            Prop(name, value) => {
                let at = u32::try_from(strings.len()).unwrap();
                strings.extend_from_slice(name.as_bytes());
                strings.push(0);
                let len = u32::try_from(value.len()).unwrap();
                (
                    PROP,
                    [&len.to_be_bytes()[..], &at.to_be_bytes()[..], value].concat(),
                )
            }
        };
        structure.extend_from_slice(&token.to_be_bytes());
        structure.extend_from_slice(&content);
        structure.resize(structure.len().next_multiple_of(4), 0);
    }
    structure.extend_from_slice(&END.to_be_bytes());

    let mut out = vec![0; HEADER_LEN];
    let reservations_at = out.len();
    for (start, len) in reservations.iter().chain([&(0, 0)]) {
        out.extend_from_slice(&start.to_be_bytes());
        out.extend_from_slice(&len.to_be_bytes());
    }
    out.extend_from_slice(&[0xee; 4]);
    let structure_at = out.len();
    out.extend_from_slice(&structure);
    out.extend_from_slice(&[0xee; 4]);
    let strings_at = out.len();
    out.extend_from_slice(&strings);
    let header = [
        MAGIC as usize,
        out.len(),
        structure_at,
        strings_at,
        reservations_at,
        17,
        16,
        7,
        strings.len(),
        structure.len(),
    ];
    for (index, field) in header.into_iter().enumerate() {
        put(&mut out, index, u32::try_from(field).unwrap());
    }
    out
}

/// Overwrites a field of the header.
fn put(blob: &mut [u8], index: usize, value: u32) {
    blob[index * 4..index * 4 + 4].copy_from_slice(&value.to_be_bytes());
}

fn be(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// The tree of a machine with a serial port on an identity-mapped bus, one on a translated bus, and two CPUs.
fn sample() -> Vec<u8> {
    let (two, one, none) = (be(&[2]), be(&[1]), be(&[0]));
    let reg = be(&[0, 0x1000_0000, 0, 0x100]);
    let short = be(&[0x40, 4, 0x80, 8]);
    let phandle = be(&[9]);
    blob(
        &[
            Nop,
            Begin(""),
            Prop("#address-cells", &two),
            Prop("#size-cells", &two),
            Prop("compatible", b"first\0second\0"),
            Begin("cpus"),
            Prop("#address-cells", &one),
            Prop("#size-cells", &none),
            Begin("cpu@0"),
            Prop("reg", &none),
            Prop("status", b"disabled\0"),
            EndNode,
            Begin("cpu@1"),
            Prop("reg", &one),
            Prop("status", b"okay\0"),
            EndNode,
            EndNode,
            Begin("soc"),
            Prop("#address-cells", &two),
            Prop("#size-cells", &two),
            Prop("ranges", b""),
            Begin("serial@10000000"),
            Prop("reg", &reg),
            Nop,
            Prop("phandle", &phandle),
            EndNode,
            EndNode,
            Begin("bus"),
            Prop("#address-cells", &one),
            Prop("#size-cells", &one),
            Prop("ranges", &reg),
            Begin("serial@40"),
            Prop("reg", &short),
            EndNode,
            EndNode,
            EndNode,
        ],
        &[(0x8000_0000, 0x1000), (1, 2)],
    )
}

#[test]
fn nodes_are_found_by_path_name_and_phandle() {
    let bytes = sample();
    let tree = Fdt::parse(&bytes).unwrap();
    assert_eq!((tree.boot_cpu, tree.total as usize), (7, bytes.len()));
    let names: Vec<_> = tree.nodes().map(|node| node.name).collect();
    let expected = [
        "",
        "cpus",
        "cpu@0",
        "cpu@1",
        "soc",
        "serial@10000000",
        "bus",
        "serial@40",
    ];
    assert_eq!(names, expected);
    for (path, expected) in [
        ("/", Some("")),
        ("/cpus", Some("cpus")),
        ("/cpus/cpu@1", Some("cpu@1")),
        ("/cpus/cpu", Some("cpu@0")),
        ("/soc/serial", Some("serial@10000000")),
        ("/bus/serial", Some("serial@40")),
        ("/serial", None),
        ("/soc/cpu@1", None),
        ("/cpus/cpu@1/x", None),
        ("/cpus/cpu@2", None),
    ] {
        assert_eq!(tree.node(path).map(|node| node.name), expected, "{path}");
    }
    assert_eq!(tree.by_phandle(9).map(|node| node.name), Some("serial@10000000"));
    assert!(tree.by_phandle(8).is_none());
    let cpus = tree.node("/cpus").unwrap();
    let children: Vec<_> = cpus.children().map(|node| node.name).collect();
    assert_eq!(children, ["cpu@0", "cpu@1"]);
    let first = tree.node("/cpus/cpu@0").unwrap();
    assert_eq!(first.children().count(), 0);
    assert!(first.is_same_node(&cpus.children().next().unwrap()) && !first.is_same_node(&cpus));
    let reserved: Vec<_> = tree.reservations().collect();
    assert_eq!(reserved, [(0x8000_0000, 0x1000), (1, 2)]);
}

#[test]
fn reg_follows_the_cells_of_the_parent() {
    let bytes = sample();
    let tree = Fdt::parse(&bytes).unwrap();
    let reg = |path: &str| -> Vec<_> { tree.node(path).unwrap().reg().unwrap().collect() };
    assert_eq!(reg("/cpus/cpu@1"), [(1, 0)]);
    assert_eq!(reg("/soc/serial"), [(0x1000_0000, 0x100)]);
    assert_eq!(reg("/bus/serial"), [(0x40, 4), (0x80, 8)]);
    // An address on a translated bus is not a CPU address.
    assert_eq!(
        tree.node("/soc/serial").unwrap().range(),
        Some((0x1000_0000, 0x100))
    );
    assert_eq!(tree.node("/bus/serial").unwrap().range(), None);

    let root = tree.nodes().next().unwrap();
    assert!(root.is_compatible("second") && !root.is_compatible("sec") && !root.is_compatible("third"));
    assert_eq!(
        (root.u32("#size-cells"), root.number("#size-cells")),
        (Some(2), Some(2))
    );
    assert_eq!((root.u32("compatible"), root.string("compatible")), (None, None));
    assert!(root.property("ranges").is_none() && root.reg().is_none());
    let (first, second) = (
        tree.node("/cpus/cpu@0").unwrap(),
        tree.node("/cpus/cpu@1").unwrap(),
    );
    assert!(!first.is_okay() && second.is_okay() && root.is_okay());
    let serial = tree.node("/soc/serial").unwrap();
    assert_eq!(
        serial.cells("reg").collect::<Vec<_>>(),
        [0, 0x1000_0000, 0, 0x100]
    );
    assert_eq!(root.cells("compatible").count(), 0);
}

#[test]
fn malformed_headers_are_rejected() {
    let whole = sample();
    let total = u32::try_from(whole.len()).unwrap();
    for (index, value, expected) in [
        (0, 0xedfe_0dd0, FdtError::Magic(0xedfe_0dd0)),
        (1, 39, FdtError::TotalSize(39)),
        (1, total + 1, FdtError::TotalSize(total + 1)),
        (2, total, FdtError::Block("structure", total)),
        (2, 0xffff_fffc, FdtError::Block("structure", 0xffff_fffc)),
        (2, 93, FdtError::Block("structure", 93)),
        (3, total, FdtError::Block("strings", total)),
        (4, 44, FdtError::Block("memory reservation", 44)),
        (4, total & !7, FdtError::Reservations),
        (5, 16, FdtError::Version(16, 16)),
        (6, 18, FdtError::Version(17, 18)),
    ] {
        let mut bytes = whole.clone();
        put(&mut bytes, index, value);
        assert_eq!(Fdt::parse(&bytes).err(), Some(expected), "field {index}");
    }
    assert_eq!(Fdt::parse(&[]).err(), Some(FdtError::Magic(0)));
    assert_eq!(total_size(&whole), Some(total));
    assert_eq!((total_size(&[0; 8]), total_size(&whole[..6])), (None, None));
}

#[test]
fn malformed_structures_are_rejected() {
    for parts in [
        &[][..],
        &[Begin("")],
        &[EndNode],
        &[Begin("x"), EndNode],
        &[Begin(""), EndNode, Begin(""), EndNode],
        &[Begin(""), Begin(""), EndNode, EndNode],
        &[Begin(""), Begin("a"), EndNode, Prop("late", b""), EndNode],
        &[Begin(""), EndNode, Prop("outside", b"")],
        &[Begin(""), EndNode, EndNode],
    ] {
        let bytes = blob(parts, &[]);
        assert!(matches!(Fdt::parse(&bytes), Err(FdtError::Structure(_))));
    }
    assert!(Fdt::parse(&blob(&[Begin(""), EndNode], &[])).is_ok());
    let deep = |depth: usize| {
        let begin = [&[Begin("")][..], &vec![Begin("n"); depth - 1]].concat();
        blob(&[begin, vec![EndNode; depth]].concat(), &[])
    };
    assert_eq!(Fdt::parse(&deep(MAX_DEPTH)).unwrap().nodes().count(), MAX_DEPTH);
    assert!(Fdt::parse(&deep(MAX_DEPTH + 1)).is_err());
}

#[test]
fn no_change_of_a_byte_causes_a_panic() {
    let whole = sample();
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let Ok(tree) = Fdt::parse(&bytes) else { continue };
            for node in tree.nodes() {
                let _ = (
                    node.reg().map(Iterator::count),
                    node.range(),
                    node.children().count(),
                );
                assert!(node.properties().count() < whole.len());
            }
            let _ = (tree.reservations().count(), tree.node("/soc/serial"));
        }
        assert!(Fdt::parse(&whole[..at]).is_err());
    }
}
