//! Definition blocks.

use fw_acpi::{Device, MemoryRange, Namespace};

use crate::machine::{microvm, pc};

fn namespace(aml: &[u8]) -> Namespace {
    let mut namespace = Namespace::default();
    namespace.add(aml);
    namespace
}

fn device(aml: &[u8], path: &str) -> Device {
    let found = namespace(aml).devices;
    let device = found.iter().find(|device| device.path == path);
    device
        .cloned()
        .unwrap_or_else(|| panic!("no {path} among {found:?}"))
}

#[test]
fn the_devices_of_a_microvm() {
    let found = namespace(&microvm(3));
    assert_eq!((found.unknown, found.soft_off), (0, Some([5, 0])));
    let disks: Vec<_> = found.devices_with_id("LNRO0005").collect();
    assert_eq!(disks.len(), 3);
    for (disk, number) in disks.into_iter().zip(0..) {
        assert_eq!(disk.path, format!("\\_SB_.VR{number:02}"));
        assert_eq!(disk.unique_id, Some(number));
        let addr = 0xfeb0_0000 + 512 * number;
        assert_eq!(disk.memory, [MemoryRange { addr, len: 512 }]);
        assert_eq!(disk.interrupts, [8 + number as u32]);
    }
    let serial = device(&microvm(0), "\\_SB_.COM1");
    assert_eq!(serial.hardware_id.as_deref(), Some("PNP0501"));
    assert_eq!(serial.ports, [(0x3f8, 8)]);
}

#[test]
fn the_objects_of_a_pc() {
    let found = namespace(&pc());
    assert_eq!((found.unknown, found.soft_off), (0, Some([1, 2])));
    assert_eq!(found.devices_with_id("LNRO0005").count(), 0, "it is not present");
    let root = device(&pc(), "\\_SB_.PCI0");
    assert_eq!(root.hardware_id.as_deref(), Some("PNP0A08"));
    let range = |addr, len| MemoryRange { addr, len };
    assert_eq!(
        root.memory,
        [
            range(0xe000_0000, 0x1ec0_0000),
            range(0x80_0000_0000, 0x8_0000_0000)
        ]
    );
}

#[test]
fn names_have_paths() {
    let check = |aml: &[u8], expected: &[&str]| {
        let paths: Vec<_> = namespace(aml)
            .devices
            .into_iter()
            .map(|device| device.path)
            .collect();
        assert_eq!(paths, expected, "{}", aml.escape_ascii());
    };
    check(b"\x5b\x82\x05DEV0", &["\\DEV0"]);
    check(b"\x5b\x82\x0a\x2eAAAABBBB", &["\\AAAA.BBBB"]);
    check(b"\x5b\x82\x0f\x2f\x03AAAABBBBCCCC", &["\\AAAA.BBBB.CCCC"]);
    check(b"\x10\x0dAAAA\x5b\x82\x06\\BBBB", &["\\BBBB"]);
    check(b"\x10\x0dAAAA\x5b\x82\x06^BBBB", &["\\BBBB"]);
    check(b"\x10\x12\x2eAAAABBBB\x5b\x82\x06^CCCC", &["\\AAAA.CCCC"]);
    check(b"\x10\x0a\\\0\x5b\x82\x05DEV0", &["\\DEV0"]);
    // Above the root, a name that is none, no name.
    check(b"\x5b\x82\x06^BBBB", &[]);
    check(b"\x5b\x82\x05dev0", &[]);
    check(b"\x5b\x82\x04DEV", &[]);
}

#[test]
fn what_is_not_known_ends_its_block_only() {
    // A scope with `Store`, which only methods have, then a device.
    let found = namespace(b"\x10\x08AAAA\x70\x00\x60\x5b\x82\x05DEV0");
    assert_eq!((found.unknown, found.devices.len()), (1, 1));
    let found = namespace(b"\x70\x00\x60\x5b\x82\x05DEV0");
    assert_eq!((found.unknown, found.devices.len()), (1, 0));
    // A package that is longer than its block.
    let found = namespace(b"\x10\x3fAAAA");
    assert_eq!(found.unknown, 1);
    // A package that is shorter than its length.
    for lead in [b"\x10\x00", b"\x10\x40", b"\x10\xc0"] {
        assert_eq!(namespace(lead).unknown, 1);
    }
}

#[test]
fn nesting_is_limited() {
    let mut aml = Vec::new();
    for _ in 0..100 {
        let len = aml.len() + 7;
        let mut outer = vec![0x10, 0x40 | (len & 0xf) as u8, (len >> 4) as u8];
        outer.extend(b"AAAA");
        outer[1..3].copy_from_slice(&[0x40 | ((len - 1) & 0xf) as u8, ((len - 1) >> 4) as u8]);
        outer.extend(aml);
        aml = outer;
    }
    assert_eq!(namespace(&aml).unknown, 1);
}

#[test]
fn values_have_all_sizes() {
    let check = |value: &[u8], expected| {
        let mut aml = b"\x08_UID".to_vec();
        aml.extend(value);
        let mut block = vec![0x5b, 0x82, (5 + aml.len()) as u8];
        block.extend(b"DEV0");
        block.extend(aml);
        let found = namespace(&block);
        assert_eq!(found.unknown, 0);
        assert_eq!(found.devices[0].unique_id, expected, "{}", value.escape_ascii());
    };
    check(b"\x00", Some(0));
    check(b"\x01", Some(1));
    check(b"\xff", Some(u64::MAX));
    check(b"\x0a\x80", Some(0x80));
    check(b"\x0b\x80\x01", Some(0x180));
    check(b"\x0c\x80\x01\x00\x02", Some(0x200_0180));
    check(
        b"\x0e\x01\x02\x03\x04\x05\x06\x07\x08",
        Some(0x0807_0605_0403_0201),
    );
    check(b"\x0dtext\0", None);
    check(b"OTHR", None);
    check(b"\x5b\x30", None);
    check(b"\x13\x02\x00", None);
}
